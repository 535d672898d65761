/**
 * What two sides say before the first frame, as a machine of bytes: what arrived goes in, what to say and whom we are
 * connected to come out.
 *
 *     none    C: hello                S: hello
 *     secret  C: hello    S: hello    C: proof    S: proof
 *
 * Invariants
 * 1. With `secret`, nobody is announced before it proved that it knows the secret and heard and said every byte of this
 *    handshake as we did.
 * 2. The accepting side proves itself to nobody who has not, and computes no key for strangers.
 * 3. A side that speaks out of turn is a stranger's trick: nothing is gathered beyond the message that is due.
 */
import { assert, ClusterError, concatBytes, emptyBytes, must, type Random } from '@shoal/base'
import { checkHello, decodeHello, encodeHello, type Hello, helloBytesMax } from './hello.ts'
import { decodeProof, encodeProof, proofMessageBytesMax, type ReceivedProof } from './proof.ts'
import { type ClusterSecret, challengeBytes, EphemeralKey, proofBytes, publicKeyBytes, type Role } from './secret.ts'
import { type Agreement, agree } from './security.ts'

export interface HandshakeOptions {
  readonly role: Role
  /** Who we are, as of now: an accepting side knows its last sequence only once it knows the other. */
  readonly ours: () => Hello
  readonly secret: ClusterSecret | undefined
  readonly random: Pick<Random, 'bytes'>
}

export interface HandshakeStep {
  readonly say: readonly Uint8Array[]
  /** The other side, sound and (with `secret`) proven; an accepting side answers with `greet`. */
  readonly peer?: { readonly hello: Hello; readonly rest: Uint8Array }
  /** Hang up once `say` is said. */
  readonly refused?: ClusterError
}

/** Secrets of the two directions of one connection. */
export interface TrafficSecrets {
  readonly sending: Uint8Array
  readonly receiving: Uint8Array
}

const nothing: HandshakeStep = { say: [] }

export class Handshake {
  /** Set with `secure`, from the moment on at which the next byte sent or received is the first of a record. */
  traffic: TrafficSecrets | undefined
  private readonly options: HandshakeOptions
  private readonly challenge: Uint8Array
  private due: 'hello' | 'proof' | 'nothing' = 'hello'
  private saidHello = false
  private proven = false
  private received: Uint8Array = emptyBytes
  /** Every message so far, whole, in the order of the diagram. */
  private readonly said: Uint8Array[] = []
  private theirs: Hello | undefined
  private agreed: Agreement | undefined
  private ephemeral: EphemeralKey | undefined
  private theirPublicKey: Uint8Array = emptyBytes

  constructor(options: HandshakeOptions) {
    this.options = options
    this.challenge = options.secret === undefined ? emptyBytes : options.random.bytes(challengeBytes)
  }

  /** The first word of a connecting side; of an accepting one the last, once it knows the other. Empty if said before. */
  greet(): readonly Uint8Array[] {
    if (this.options.role === 'accepting' && this.due === 'nothing' && this.agreed?.authentication === 'secret') {
      return this.proveAccepting()
    }
    return this.sayHello(this.options.ours())
  }

  /** Throws EBADMSG, EPROTO or EACCES: hang up without a word. */
  receive(chunk: Uint8Array): HandshakeStep {
    // This copies, as it must: the chunk is only lent, and what is kept of it outlives this call.
    this.received = concatBytes([this.received, chunk])
    if (this.due === 'hello') return this.onHello()
    assert(this.due === 'proof', 'a handshake that is over receives nothing')
    return this.onProof()
  }

  private sayHello(ours: Hello): readonly Uint8Array[] {
    if (this.saidHello) return []
    this.saidHello = true
    const hello = encodeHello({ ...ours, challenge: this.challenge })
    this.said.push(hello)
    return [hello]
  }

  private onHello(): HandshakeStep {
    const decoded = decodeHello(this.received)
    if (decoded === undefined) {
      if (this.received.length > helloBytesMax) throw new ClusterError('EBADMSG', 'no end to the hello')
      return nothing
    }
    const { hello: theirs, rest } = decoded
    const { role } = this.options
    const ours = this.options.ours()
    try {
      checkHello(ours, theirs)
      const sides =
        role === 'connecting' ? { connecting: ours, accepting: theirs } : { connecting: theirs, accepting: ours }
      this.agreed = agree(sides, theirs)
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      // Told who we are before we hang up, the other side can say what does not fit.
      return { say: this.sayHello(ours), refused: error }
    }
    this.theirs = theirs
    if (this.agreed.authentication === 'none') {
      this.due = 'nothing'
      return { say: [], peer: { hello: theirs, rest } }
    }
    if (rest.length > 0 || theirs.challenge.length !== challengeBytes) {
      throw new ClusterError('EBADMSG', `${theirs.name} speaks out of turn`)
    }
    this.said.push(this.received.slice())
    this.received = emptyBytes
    this.due = 'proof'
    if (role === 'connecting') return { say: this.prove('connecting', 0) }
    return { say: this.sayHello({ ...ours, kind: theirs.kind, stream: theirs.stream, attempt: theirs.attempt }) }
  }

  private onProof(): HandshakeStep {
    const { role } = this.options
    const { name } = must(this.theirs, 'a hello comes before a proof')
    const received = decodeProof(this.received)
    if (received === undefined) {
      if (this.received.length > proofMessageBytesMax) throw new ClusterError('EBADMSG', 'no end to the proof')
      return nothing
    }
    const { claims, rest } = received
    if (claims.refusal !== '') throw refusedBy(name, claims.refusal)
    if (role === 'accepting' && rest.length > 0) throw new ClusterError('EBADMSG', `${name} speaks out of turn`)
    const error = this.faultOf(received)
    if (error !== undefined) {
      const refusal = { refusal: error.message, publicKey: emptyBytes, lastSequence: 0 }
      const say = role === 'accepting' ? [encodeProof(refusal, () => new Uint8Array(proofBytes))] : []
      return { say, refused: error }
    }
    this.said.push(concatBytes([received.head, received.proof]))
    this.received = emptyBytes
    this.due = 'nothing'
    this.theirPublicKey = claims.publicKey
    const theirs = must(this.theirs, 'a hello comes before a proof')
    if (role === 'accepting') return { say: [], peer: { hello: theirs, rest } }
    this.makeKeys()
    return { say: [], peer: { hello: { ...theirs, lastSequence: claims.lastSequence }, rest } }
  }

  private faultOf({ claims, head, proof }: ReceivedProof): ClusterError | undefined {
    const { role } = this.options
    const { name } = must(this.theirs, 'a hello comes before a proof')
    const prover: Role = role === 'accepting' ? 'connecting' : 'accepting'
    if (!this.secret.verify(prover, [...this.said, head], proof)) {
      return new ClusterError('EACCES', `${name} does not prove that it knows the key of this cluster`, {
        hint: 'the keyrings of both sides must be the same file; if they are, somebody changes what they say to each other',
      })
    }
    const wanted = this.agreed?.encryption === 'secure' ? publicKeyBytes : 0
    if (claims.publicKey.length === wanted) return undefined
    return new ClusterError('EPROTO', `${name} sent a public key of ${claims.publicKey.length} bytes`)
  }

  private proveAccepting(): readonly Uint8Array[] {
    if (this.proven) return []
    this.proven = true
    const say = this.prove('accepting', this.options.ours().lastSequence)
    this.makeKeys()
    return say
  }

  private prove(role: Role, lastSequence: number): readonly Uint8Array[] {
    if (this.agreed?.encryption === 'secure') this.ephemeral = new EphemeralKey(this.options.random)
    const claims = { refusal: '', publicKey: this.ephemeral?.publicKey ?? emptyBytes, lastSequence }
    const message = encodeProof(claims, (head) => this.secret.prove(role, [...this.said, head]))
    this.said.push(message)
    return [message]
  }

  private makeKeys(): void {
    if (this.ephemeral === undefined) return
    const shared = this.ephemeral.agree(this.theirPublicKey)
    const { connecting, accepting } = this.secret.trafficSecrets(shared, this.said)
    this.ephemeral = undefined
    this.traffic =
      this.options.role === 'connecting'
        ? { sending: connecting, receiving: accepting }
        : { sending: accepting, receiving: connecting }
  }

  private get secret(): ClusterSecret {
    return must(this.options.secret, 'who accepts a secret has one')
  }
}

/** The text is a stranger's: nothing of it may reach a terminal but letters. */
function refusedBy(name: string, text: string): ClusterError {
  const clean = text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 200)
  return new ClusterError('EACCES', `${name} refuses us: ${clean}`, {
    hint: 'this side needs the keyring of that cluster: --keyring FILE',
  })
}
