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
  type Listener,
  type Log,
} from '@shoal/base'
import { Connection } from './connection.ts'
import { controlType, loadFrameChecksum, type ReceivedFrame } from './frame.ts'
import { type ConnectionKind, type Hello, protocolVersion } from './hello.ts'
import { LossySession, PeerInbox, PeerOutbox, type SessionPeer } from './session.ts'

/** Connections that have not said hello yet; more are refused. */
const strangersMax = 256
/** Inboxes of peers that restarted are forgotten, the oldest first, beyond this many. */
const inboxesMax = 4096
const outboxBytesMax = 1024 * 1024 * 1024

export interface MessengerOptions {
  readonly name: EntityName
  /** Unique to this run of the process. */
  readonly nonce: number
  readonly fsid: string
  readonly featuresSupported?: number
  readonly featuresRequired?: number
}

export interface MessengerHandler {
  /** A client connected. Set the session's callbacks. */
  onSession(session: LossySession): void
  /** A message of a peer: in order and exactly once. `pause` and `resume` hold back that peer. */
  onPeerFrame(peer: SessionPeer, frame: ReceivedFrame): void
  /** What was sent to this peer and not acknowledged is lost: its process is another one. */
  onPeerReset(peer: EntityName): void
}

export interface MessengerCounters {
  framesReceived: number
  bytesReceived: number
  connectionsAccepted: number
  connectionsRefused: number
  protocolErrors: number
}

export class Messenger {
  readonly counters: MessengerCounters = {
    framesReceived: 0,
    bytesReceived: 0,
    connectionsAccepted: 0,
    connectionsRefused: 0,
    protocolErrors: 0,
  }
  private readonly env: Pick<Env, 'clock' | 'timers' | 'network' | 'random' | 'log'>
  private readonly log: Log
  private readonly options: MessengerOptions
  private readonly handler: MessengerHandler
  private readonly sessions = new Set<LossySession>()
  private readonly outboxes = new Map<string, PeerOutbox>()
  private readonly inboxes = new Map<string, PeerInbox>()
  private readonly strangers = new Set<Connection>()
  private readonly listeners: Listener[] = []
  private nextSession = 1
  private nextStream = 1

  private constructor(
    env: Pick<Env, 'clock' | 'timers' | 'network' | 'random' | 'log'>,
    options: MessengerOptions,
    handler: MessengerHandler,
  ) {
    this.env = env
    this.log = env.log.child('messenger')
    this.options = options
    this.handler = handler
  }

  static async create(
    env: Pick<Env, 'clock' | 'timers' | 'network' | 'random' | 'log'>,
    options: MessengerOptions,
    handler: MessengerHandler,
  ): Promise<Messenger> {
    await loadFrameChecksum()
    return new Messenger(env, options, handler)
  }

  /** Port 0 picks a free one; the answer tells which. */
  async bind(address: Address): Promise<Address> {
    const listener = await this.env.network.listen(address, (stream) => this.onAccept(stream))
    this.listeners.push(listener)
    return listener.address
  }

  /** A session to whoever listens there. Frames may be sent at once; they wait for the handshake. */
  connect(address: Address): LossySession {
    const connection: Connection = new Connection(this.env, this.env.network.connect(address), {
      ours: () => this.hello('lossy', 0, 0),
      greet: true,
      handler: {
        onHello: (hello) => session.established({ name: hello.name, nonce: hello.nonce }),
        onFrame: (frame) => this.deliver(frame, () => session.onFrame(frame)),
        onDrain: () => session.onDrain(),
        onClose: (error) => this.onSessionClosed(session, error),
      },
    })
    const session = new LossySession(this.nextSession++, connection, undefined)
    this.sessions.add(session)
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
        queueBytesMax: outboxBytesMax,
        onPeerReset: () => {
          this.outboxes.delete(key)
          this.handler.onPeerReset(name)
        },
      })
      this.outboxes.set(key, outbox)
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
    await Promise.all(this.listeners.map((listener) => listener.close()))
    for (const outbox of this.outboxes.values()) outbox.close()
    for (const session of this.sessions) session.close()
    for (const inbox of this.inboxes.values()) inbox.connection?.fail(undefined)
    for (const connection of this.strangers) connection.fail(undefined)
  }

  private hello(kind: ConnectionKind, stream: number, lastSequence: number): Hello {
    const { name, nonce, fsid, featuresSupported = 0, featuresRequired = 0 } = this.options
    return {
      protocol: protocolVersion,
      fsid,
      name,
      nonce,
      kind,
      stream,
      featuresSupported,
      featuresRequired,
      authentication: 0,
      lastSequence,
    }
  }

  private deliver(frame: ReceivedFrame, to: () => void): void {
    this.counters.framesReceived++
    this.counters.bytesReceived += frame.payload.length
    to()
  }

  private onSessionClosed(session: LossySession, error: Error | undefined): void {
    this.sessions.delete(session)
    this.report(session.remote, error)
    session.reset(error)
  }

  private report(remote: string, error: Error | undefined): void {
    if (!(error instanceof ClusterError) || (error.code !== 'EBADMSG' && error.code !== 'EPROTO')) return
    this.counters.protocolErrors++
    this.log.warn('closed a connection', { remote, code: error.code, reason: error.message })
  }

  private connectPeer(outbox: PeerOutbox, address: Address): Connection {
    return new Connection(this.env, this.env.network.connect(address), {
      ours: () => this.hello('peer', outbox.stream, 0),
      greet: true,
      handler: {
        onHello: (hello) => outbox.onHello(hello.nonce, hello.lastSequence),
        onFrame: (frame, sequence) => {
          if (frame.type === controlType.ack) outbox.onAck(sequence)
        },
        onDrain: () => undefined,
        onClose: (error) => {
          this.report(address, error)
          outbox.onClose(error)
        },
      },
    })
  }

  private onAccept(stream: ByteStream): void {
    if (this.strangers.size >= strangersMax) {
      this.counters.connectionsRefused++
      stream.destroy()
      return
    }
    this.counters.connectionsAccepted++
    let hello = this.hello('lossy', 0, 0)
    let onFrame: (frame: ReceivedFrame, sequence: number) => void = () => undefined
    let onDrain = (): void => undefined
    let onClose = (error: Error | undefined): void => this.report(stream.remote, error)
    const connection: Connection = new Connection(this.env, stream, {
      ours: () => hello,
      greet: false,
      handler: {
        onHello: (theirs) => {
          this.strangers.delete(connection)
          const peer = { name: theirs.name, nonce: theirs.nonce }
          if (theirs.kind === 'peer') {
            const inbox = this.adoptInbox(peer, theirs.stream, connection)
            hello = this.hello('peer', theirs.stream, inbox.lastSequence)
            onFrame = (frame, sequence) => this.onPeerFrame(inbox, frame, sequence)
            onClose = (error) => this.onInboxClosed(inbox, connection, error)
            connection.greet()
          } else {
            const session = new LossySession(this.nextSession++, connection, peer)
            this.sessions.add(session)
            onFrame = (frame) => this.deliver(frame, () => session.onFrame(frame))
            onDrain = () => session.onDrain()
            onClose = (error) => this.onSessionClosed(session, error)
            connection.greet()
            this.handler.onSession(session)
          }
        },
        onFrame: (frame, sequence) => onFrame(frame, sequence),
        onDrain: () => onDrain(),
        onClose: (error) => {
          this.strangers.delete(connection)
          onClose(error)
        },
      },
    })
    this.strangers.add(connection)
  }

  /** The inbox of this run of the peer; an older connection of it is cut, so that two never deliver at once. */
  private adoptInbox(peer: SessionPeer, stream: number, connection: Connection): PeerInbox {
    const key = `${peer.name}#${peer.nonce}#${stream}`
    const inbox = this.inboxes.get(key) ?? new PeerInbox(this.env, peer)
    this.inboxes.delete(key)
    this.inboxes.set(key, inbox)
    inbox.connection?.fail(undefined)
    inbox.connection = connection
    for (const [oldest, old] of this.inboxes) {
      if (this.inboxes.size <= inboxesMax) break
      if (old.connection === undefined) this.inboxes.delete(oldest)
    }
    return inbox
  }

  private onPeerFrame(inbox: PeerInbox, frame: ReceivedFrame, sequence: number): void {
    if (!inbox.accept(frame, sequence)) return
    this.deliver(frame, () => this.handler.onPeerFrame(inbox.peer, frame))
  }

  private onInboxClosed(inbox: PeerInbox, connection: Connection, error: Error | undefined): void {
    this.report(connection.remote, error)
    if (inbox.connection === connection) inbox.connection = undefined
  }
}
