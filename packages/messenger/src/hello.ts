/**
 * The first words on a connection, from both sides: who is there, of which cluster, which features it has and which it
 * cannot do without, and how it lets itself be convinced of who the other is.
 */
import {
  array,
  ByteReader,
  ByteWriter,
  bytes,
  ClusterError,
  type Codec,
  decode,
  type EntityName,
  emptyBytes,
  encode,
  oneOf,
  string,
  struct,
  u8,
  u16,
  u64,
  versioned,
} from '@shoal/base'
import { checksum } from './frame.ts'
import { type Authentication, authentications, type Encryption, encryptions } from './security.ts'

const helloMagic = 0x4f4c4853
export const helloBytesMax = 4096

/**
 * `lossy`: messages flow both ways, and end with the connection. `peer`: messages flow from the connecting side only,
 * numbered, and are sent again on the next connection until acknowledged.
 */
const connectionKinds = ['lossy', 'peer'] as const
type ConnectionKind = (typeof connectionKinds)[number]

export interface Hello {
  readonly protocol: number
  readonly fsid: string
  readonly name: EntityName
  /** Unique to the run of the process. */
  readonly nonce: number
  readonly kind: ConnectionKind
  /** Of a `peer` connection: names the sender's outbox, whose numbering it carries on. */
  readonly stream: number
  /** Of a `peer` connection: grows with each attempt to connect this outbox, so that a late one is known as such. */
  readonly attempt: number
  readonly featuresSupported: number
  readonly featuresRequired: number
  /** How either side may prove itself, in order of preference: the connecting side's order decides. */
  readonly authentications: readonly Authentication[]
  /** How frames may travel after the handshake, in order of preference. */
  readonly encryptions: readonly Encryption[]
  /** Never said before: a proof that answers it is no replay. Empty unless `secret` is among the authentications. */
  readonly challenge: Uint8Array
  /** Of the accepting side of a `peer` connection: the last message it has of this sender's run. */
  readonly lastSequence: number
}

export const protocolVersion = 1

type HelloV1 = Omit<Hello, 'authentications' | 'encryptions' | 'challenge'> & {
  readonly authentication: number
  readonly encryption: number
}

const v1: Codec<HelloV1> = struct<HelloV1>({
  protocol: u16(),
  fsid: string(),
  name: string(),
  nonce: u64(),
  kind: oneOf(connectionKinds),
  stream: u64(),
  attempt: u64(),
  featuresSupported: u64(),
  featuresRequired: u64(),
  authentication: u16(),
  encryption: u16(),
  lastSequence: u64(),
})

const codes = array(u8())

/** A code that only later versions know is none that we can agree on. */
function wordsOf<T extends string>(words: readonly T[], read: readonly number[]): readonly T[] {
  return read.map((code) => words[code]).filter((word) => word !== undefined)
}

const codesOf = <T extends string>(words: readonly T[], wanted: readonly T[]): readonly number[] =>
  wanted.map((word) => words.indexOf(word))

/** What version 1 reads: it goes on only where it finds 0, and names the number where it does not. */
function codeForV1<T extends string>(words: readonly T[], wanted: readonly T[]): number {
  return wanted.includes(words[0] as T) ? 0 : words.indexOf(wanted[0] as T)
}

const codec: Codec<Hello> = versioned<Hello>(2, 1, 'hello', {
  write(writer, hello) {
    v1.write(writer, {
      ...hello,
      authentication: codeForV1(authentications, hello.authentications),
      encryption: codeForV1(encryptions, hello.encryptions),
    })
    codes.write(writer, codesOf(authentications, hello.authentications))
    codes.write(writer, codesOf(encryptions, hello.encryptions))
    writer.bytes(hello.challenge)
  },
  read(reader, version) {
    const { authentication, encryption, ...rest } = v1.read(reader)
    const later = version > 1
    return {
      ...rest,
      authentications: wordsOf(authentications, later ? codes.read(reader) : [authentication]),
      encryptions: wordsOf(encryptions, later ? codes.read(reader) : [encryption]),
      challenge: later ? bytes().read(reader) : emptyBytes,
    }
  },
})

const prefixBytes = 12
const entityNamePattern = /^(?:mon|osd|client)\.[\w.-]{1,64}$/

export function encodeHello(hello: Hello): Uint8Array {
  const body = encode(codec, hello)
  return new ByteWriter()
    .u32(helloMagic)
    .u32(body.length)
    .u32(checksum([body]))
    .raw(body)
    .finish()
}

/** Undefined while bytes are missing; `rest` is what follows. Throws EBADMSG or EPROTO. */
export function decodeHello(received: Uint8Array): { readonly hello: Hello; readonly rest: Uint8Array } | undefined {
  if (received.length < 4) return undefined
  const reader = new ByteReader(received)
  if (reader.u32() !== helloMagic) throw new ClusterError('EBADMSG', 'the other side does not speak our protocol')
  if (received.length < prefixBytes) return undefined
  const length = reader.u32()
  const stored = reader.u32()
  if (length > helloBytesMax) throw new ClusterError('EBADMSG', `hello of ${length} bytes`)
  if (reader.remaining < length) return undefined
  const body = reader.raw(length)
  if (checksum([body]) !== stored) throw new ClusterError('EBADMSG', 'checksum of a hello does not match')
  const hello = decode(codec, body)
  if (!entityNamePattern.test(hello.name)) throw new ClusterError('EPROTO', 'a hello from nobody we know')
  return { hello, rest: received.subarray(prefixBytes + length) }
}

/** Throws EPROTO with what does not fit; `ours` is what this side says. */
export function checkHello(ours: Hello, theirs: Hello): void {
  if (theirs.fsid !== ours.fsid) {
    throw new ClusterError('EPROTO', `${theirs.name} belongs to cluster ${theirs.fsid}, not ${ours.fsid}`, {
      hint: 'check the monitors that it was started with',
    })
  }
  if (theirs.protocol !== ours.protocol) {
    throw new ClusterError('EPROTO', `${theirs.name} speaks protocol ${theirs.protocol}, not ${ours.protocol}`)
  }
  const missing = BigInt(theirs.featuresRequired) & ~BigInt(ours.featuresSupported)
  if (missing !== 0n) {
    throw new ClusterError('EPROTO', `${theirs.name} needs features 0x${missing.toString(16)}`, {
      hint: 'upgrade this daemon',
    })
  }
}

/** The features that both sides have. */
export function commonFeatures(ours: Hello, theirs: Hello): number {
  return Number(BigInt(ours.featuresSupported) & BigInt(theirs.featuresSupported))
}
