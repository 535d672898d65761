/**
 * The end point of one entity: it listens, connects, and routes frames between connections and sessions.
 *
 * Between OSDs, messages are reliable: each direction has a connection of its own, opened by the sender
 * ({@link PeerOutbox}), so that there is never a race of two connects and never a question whose resend wins. Clients
 * and heartbeats use {@link LossySession}s in both directions over one connection.
 */
import {
  type Address,
  type ByteStream,
  ClusterError,
  type EntityName,
  type Env,
  emptyBytes,
  type Listener,
  must,
} from '@shoal/base'
import { type ClosingCounters, ClosingLog } from './closing-log.ts'
import { Connection, type ConnectionCounters, type ConnectionHandler } from './connection.ts'
import { controlType, loadFrameChecksum, type ReceivedFrame } from './frame.ts'
import { commonFeatures, type Hello, protocolVersion } from './hello.ts'
import { defaultLimits, type MessengerLimits } from './limits.ts'
import { PeerInbox, type PeerSource } from './peer-inbox.ts'
import { PeerOutbox } from './peer-outbox.ts'
import { ClusterSecret } from './secret.ts'
import { checkSecurity, type MessengerSecurity, openSecurity } from './security.ts'
import { LossySession } from './session.ts'

export type MessengerEnv = Pick<Env, 'clock' | 'timers' | 'network' | 'random' | 'log'>

export interface MessengerOptions {
  readonly name: EntityName
  /** Unique to this run of the process. */
  readonly nonce: number
  readonly fsid: string
  /** Feature bits, 53 at most. */
  readonly featuresSupported?: number
  /** Whoever lacks one of these is refused. */
  readonly featuresRequired?: number
  /** What is accepted of others; nothing proven and nothing sealed when left out. */
  readonly security?: MessengerSecurity | undefined
  readonly limits?: Partial<MessengerLimits>
}

export interface MessengerHandler {
  /** A client connected. Set the session's callbacks. */
  onSession(session: LossySession): void
  /** A message of a peer: in order and exactly once. A thrown ClusterError ends the connection, not the sequence. */
  onPeerFrame(peer: PeerSource, frame: ReceivedFrame): void
  /** What was sent to this peer and not acknowledged is lost: its process is another one. */
  onPeerReset(peer: EntityName): void
}

export interface MessengerCounters extends ClosingCounters, ConnectionCounters {
  framesReceived: number
  /** Of payload. */
  bytesReceived: number
  connectionsAccepted: number
  connectionsRefused: number
}

export class Messenger {
  readonly counters: MessengerCounters = {
    framesReceived: 0,
    bytesReceived: 0,
    connectionsAccepted: 0,
    connectionsRefused: 0,
    protocolErrors: 0,
    authenticationsRefused: 0,
    recordsRefused: 0,
    recordsTruncated: 0,
    timeouts: 0,
  }
  private readonly env: MessengerEnv
  private readonly closings: ClosingLog
  private readonly options: MessengerOptions
  private readonly limits: MessengerLimits
  private readonly security: MessengerSecurity
  private readonly secret: ClusterSecret | undefined
  private readonly handler: MessengerHandler
  private readonly sessions = new Set<LossySession>()
  private readonly outboxes = new Map<string, PeerOutbox>()
  private readonly inboxes = new Map<string, PeerInbox>()
  /** Accepted connections; those whose handshake is not done are strangers too. */
  private readonly accepted = new Set<Connection>()
  private readonly strangers = new Set<Connection>()
  private readonly listeners: Listener[] = []
  private nextSession = 1
  private nextStream = 1
  private closed = false

  private constructor(env: MessengerEnv, options: MessengerOptions, handler: MessengerHandler) {
    this.env = env
    this.closings = new ClosingLog(env.clock, env.log.child('ms'), this.counters)
    this.options = options
    this.limits = { ...defaultLimits, ...options.limits }
    this.security = options.security ?? openSecurity
    checkSecurity(this.security)
    const { authentications, secret } = this.security
    this.secret = authentications.includes('secret') ? new ClusterSecret(must(secret, 'checked')) : undefined
    this.handler = handler
  }

  /** Throws EINVAL or EACCES for security settings that do not go together, or lack the key. */
  static async create(env: MessengerEnv, options: MessengerOptions, handler: MessengerHandler): Promise<Messenger> {
    await loadFrameChecksum()
    return new Messenger(env, options, handler)
  }

  /** Port 0 picks a free one; the answer tells which. */
  async bind(address: Address): Promise<Address> {
    const listener = await this.env.network.listen(address, (stream) => this.onAccept(stream))
    this.listeners.push(listener)
    return listener.address
  }

  /** A session to whoever listens there, or ends with EPROTO if it is not the expected one. Frames wait for the handshake. */
  connect(address: Address, expected?: EntityName): LossySession {
    const hello = this.hello('lossy')
    const connection = this.connection(this.env.network.connect(address), () => hello, {
      onHello: (theirs) => {
        const error = notExpected(theirs, expected, address)
        if (error === undefined) session.established(this.peerOf(theirs))
        else connection.fail(error)
      },
      onFrame: (frame) => this.deliver(frame, () => session.onFrame(frame)),
      onDrain: () => session.drained(),
      onClose: (error) => this.onSessionClosed(session, error),
    })
    const session = new LossySession(this.nextSession++, connection, {
      peer: undefined,
      bufferedBytesMax: this.limits.sessionBytesMax,
    })
    this.sessions.add(session)
    if (this.closed) connection.fail(new ClusterError('ESHUTDOWN', 'the messenger is closed'))
    return session
  }

  /** The outbox to one run of a peer, by its address: the same one for the same peer and address. */
  peer(name: EntityName, address: Address): PeerOutbox {
    const key = `${name}@${address}`
    let outbox = this.outboxes.get(key)
    if (outbox === undefined) {
      outbox = new PeerOutbox(name, this.nextStream++, {
        env: this.env,
        connect: (owner) => this.connectPeer(owner, address),
        queueBytesMax: this.limits.outboxBytesMax,
        highWaterBytes: this.limits.outboxHighWaterBytes,
        onPeerReset: () => {
          this.outboxes.delete(key)
          this.handler.onPeerReset(name)
        },
      })
      this.outboxes.set(key, outbox)
      if (this.closed) outbox.close()
    }
    return outbox
  }

  /** Forgets the outboxes of a peer whose address (or run) is over. */
  dropPeer(name: EntityName, except?: Address): void {
    for (const [key, outbox] of this.outboxes) {
      if (outbox.name !== name || key === `${name}@${except}`) continue
      this.outboxes.delete(key)
      outbox.close()
    }
  }

  async close(): Promise<void> {
    this.closed = true
    for (const outbox of this.outboxes.values()) outbox.close()
    for (const session of this.sessions) session.close()
    for (const inbox of this.inboxes.values()) inbox.close()
    for (const connection of this.accepted) connection.fail(undefined)
    await Promise.all(this.listeners.map((listener) => listener.close()))
  }

  private hello(kind: Hello['kind'], rest: Partial<Hello> = {}): Hello {
    const { name, nonce, fsid, featuresSupported = 0, featuresRequired = 0 } = this.options
    const { authentications, encryptions } = this.security
    return {
      protocol: protocolVersion,
      fsid,
      name,
      nonce,
      kind,
      stream: 0,
      attempt: 0,
      featuresSupported,
      featuresRequired,
      authentications,
      encryptions,
      challenge: emptyBytes,
      lastSequence: 0,
      ...rest,
    }
  }

  private peerOf(theirs: Hello): { name: EntityName; nonce: number; features: number } {
    return { name: theirs.name, nonce: theirs.nonce, features: commonFeatures(this.hello('lossy'), theirs) }
  }

  private connection(stream: ByteStream, ours: () => Hello, handler: ConnectionHandler, greet = true): Connection {
    const { limits, counters, secret } = this
    return new Connection(this.env, stream, { ours, greet, limits, counters, secret, handler })
  }

  private deliver(frame: ReceivedFrame, to: () => void): void {
    this.counters.framesReceived++
    this.counters.bytesReceived += frame.payload.length
    to()
  }

  private onSessionClosed(session: LossySession, error: Error | undefined): void {
    this.sessions.delete(session)
    this.closings.report(session.remote, error)
    session.reset(error)
  }

  private connectPeer(outbox: PeerOutbox, address: Address): Connection {
    const hello = this.hello('peer', { stream: outbox.stream, attempt: outbox.attempt })
    const connection = this.connection(this.env.network.connect(address), () => hello, {
      onHello: (theirs) => {
        const error = notExpected(theirs, outbox.name, address)
        if (error === undefined) outbox.onHello(theirs.nonce, theirs.lastSequence)
        else connection.fail(error)
      },
      onFrame: (frame, sequence) => {
        if (frame.type === controlType.ack) outbox.onAck(sequence)
      },
      onDrain: () => outbox.onConnectionDrain(),
      onClose: (error) => {
        this.closings.report(address, error)
        outbox.onClose(error)
      },
    })
    return connection
  }

  /** A stranger becomes a client's session or the carrier of a peer's inbox, as its hello says. */
  private onAccept(stream: ByteStream): void {
    if (
      this.closed ||
      this.strangers.size >= this.limits.strangersMax ||
      this.accepted.size >= this.limits.connectionsMax
    ) {
      this.counters.connectionsRefused++
      stream.destroy()
      return
    }
    this.counters.connectionsAccepted++
    let ours = this.hello('lossy')
    let owner: Omit<ConnectionHandler, 'onHello'> = {
      onFrame: () => undefined,
      onDrain: () => undefined,
      onClose: (error) => this.closings.report(stream.remote, error),
    }
    const onHello = (theirs: Hello): void => {
      this.strangers.delete(connection)
      if (theirs.kind === 'lossy') {
        const session = this.acceptSession(theirs, connection)
        owner = {
          onFrame: (frame) => this.deliver(frame, () => session.onFrame(frame)),
          onDrain: () => session.drained(),
          onClose: (error) => this.onSessionClosed(session, error),
        }
        connection.greet()
        this.handler.onSession(session)
        return
      }
      const inbox = this.adoptInbox(theirs, connection)
      if (inbox === undefined) return
      ours = this.hello('peer', { stream: theirs.stream, lastSequence: inbox.lastSequence })
      owner = {
        onFrame: (frame, sequence) => this.onPeerFrame(inbox, frame, sequence),
        onDrain: () => undefined,
        onClose: (error) => {
          this.closings.report(stream.remote, error)
          inbox.disconnected(connection)
        },
      }
      connection.greet()
    }
    const handler: ConnectionHandler = {
      onHello,
      onFrame: (frame, sequence) => owner.onFrame(frame, sequence),
      onDrain: () => owner.onDrain(),
      onClose: (error) => {
        this.strangers.delete(connection)
        this.accepted.delete(connection)
        owner.onClose(error)
      },
    }
    const connection: Connection = this.connection(stream, () => ours, handler, false)
    this.strangers.add(connection)
    this.accepted.add(connection)
  }

  private acceptSession(theirs: Hello, connection: Connection): LossySession {
    const session = new LossySession(this.nextSession++, connection, {
      peer: this.peerOf(theirs),
      bufferedBytesMax: this.limits.sessionBytesMax,
    })
    this.sessions.add(session)
    return session
  }

  /** The inbox of this run of the peer, delivering from this connection now; undefined for an overtaken attempt. */
  private adoptInbox(theirs: Hello, connection: Connection): PeerInbox | undefined {
    const key = `${theirs.name}#${theirs.nonce}#${theirs.stream}`
    const inbox = this.inboxes.get(key) ?? new PeerInbox(this.env, this.peerOf(theirs))
    if (!inbox.adopt(connection, theirs.attempt)) {
      connection.fail(undefined)
      return undefined
    }
    // Last in the map: the most recently connected.
    this.inboxes.delete(key)
    this.inboxes.set(key, inbox)
    for (const [oldest, old] of this.inboxes) {
      if (this.inboxes.size <= this.limits.inboxesMax) break
      if (!old.isConnected) this.inboxes.delete(oldest)
    }
    return inbox
  }

  private onPeerFrame(inbox: PeerInbox, frame: ReceivedFrame, sequence: number): void {
    if (!inbox.accept(frame, sequence)) return
    this.deliver(frame, () => this.handler.onPeerFrame(inbox, frame))
  }
}

/** An address may have come to another daemon, by a reused port or by somebody who redirects connections. */
function notExpected(theirs: Hello, expected: EntityName | undefined, address: Address): ClusterError | undefined {
  if (expected === undefined || theirs.name === expected) return undefined
  return new ClusterError('EPROTO', `${theirs.name} answers at ${address}, the address of ${expected}`, { retry: true })
}
