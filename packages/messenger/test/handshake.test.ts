/** The handshake, byte by byte, and what becomes of it when somebody between the two sides changes what they say. */
import { concatBytes, entityName, hexDecode, hexEncode, must, Prng } from '@shoal/base'
import { type MessengerSecurity, openSecurity, securityFrom } from '@shoal/messenger'
import { beforeAll, describe, expect, test } from 'vitest'
import { checksum, loadFrameChecksum } from '../src/frame.ts'
import { Handshake, type HandshakeStep } from '../src/handshake.ts'
import { decodeHello, encodeHello, type Hello } from '../src/hello.ts'
import { ClusterSecret } from '../src/secret.ts'
import { clusterKey, otherKey } from './support/security.ts'

beforeAll(loadFrameChecksum)

type Role = 'connecting' | 'accepting'

const hellos: Readonly<Record<Role, Hello>> = {
  connecting: helloOf('peer', { name: entityName('osd', 1), stream: 4, attempt: 2, featuresRequired: 2 }),
  accepting: helloOf('lossy', { name: entityName('osd', 2), featuresRequired: 1, lastSequence: 77 }),
}

function helloOf(kind: Hello['kind'], change: Partial<Hello>): Hello {
  return {
    protocol: 1,
    fsid: 'cluster',
    name: entityName('osd', 0),
    nonce: 7,
    kind,
    stream: 0,
    attempt: 0,
    featuresSupported: 3,
    featuresRequired: 0,
    authentications: [],
    encryptions: [],
    challenge: new Uint8Array(0),
    lastSequence: 0,
    ...change,
  }
}

function side(role: Role, { secret, ...offers }: MessengerSecurity): Handshake {
  return new Handshake({
    role,
    ours: () => ({ ...hellos[role], ...offers }),
    secret: secret === undefined ? undefined : new ClusterSecret(secret),
    random: new Prng(role === 'connecting' ? 1 : 2),
  })
}

interface Ends {
  /** What each side knows of the other once it is done. */
  readonly open: Partial<Record<Role, Hello>>
  readonly errors: Partial<Record<Role, unknown>>
  /** Everything that each side said, before it was changed. */
  readonly said: Readonly<Record<Role, Uint8Array>>
  readonly sides: Readonly<Record<Role, Handshake>>
}

/** Both sides talk through `change`, which sees each message and the role that said it, until neither says more. */
function talk(
  securities: Readonly<Record<Role, MessengerSecurity>>,
  change: (from: Role, message: Uint8Array, at: number) => Uint8Array = (_from, message) => message,
): Ends {
  const sides = {
    connecting: side('connecting', securities.connecting),
    accepting: side('accepting', securities.accepting),
  }
  const ends = { open: {} as Partial<Record<Role, Hello>>, errors: {} as Partial<Record<Role, unknown>> }
  const said = { connecting: [] as Uint8Array[], accepting: [] as Uint8Array[] }
  const saidBytes = { connecting: 0, accepting: 0 }
  const wire: { readonly to: Role; readonly bytes: Uint8Array }[] = []
  const say = (from: Role, messages: readonly Uint8Array[]): void => {
    for (const message of messages) {
      said[from].push(message.slice())
      wire.push({
        to: from === 'connecting' ? 'accepting' : 'connecting',
        bytes: change(from, message.slice(), saidBytes[from]),
      })
      saidBytes[from] += message.length
    }
  }
  say('connecting', sides.connecting.greet())
  for (let next = wire.shift(); next !== undefined; next = wire.shift()) {
    const { to, bytes } = next
    if (ends.errors[to] !== undefined || ends.open[to] !== undefined) continue
    let step: HandshakeStep
    try {
      step = sides[to].receive(bytes)
    } catch (error) {
      ends.errors[to] = error
      continue
    }
    say(to, step.say)
    if (step.refused !== undefined) ends.errors[to] = step.refused
    if (step.peer === undefined) continue
    ends.open[to] = step.peer.hello
    if (to === 'accepting') say(to, sides.accepting.greet())
  }
  return { ...ends, said: { connecting: concatBytes(said.connecting), accepting: concatBytes(said.accepting) }, sides }
}

const both = (security: MessengerSecurity): Readonly<Record<Role, MessengerSecurity>> => ({
  connecting: security,
  accepting: security,
})
const secretCrc = securityFrom({ ms_mode: 'crc' }, clusterKey)
const secretSecure = securityFrom({ ms_mode: 'secure' }, clusterKey)
const either = securityFrom({ ms_mode: 'secure crc' }, clusterKey)

describe('two sides that agree', () => {
  test.each([
    ['nothing proven', openSecurity, false],
    ['proven', secretCrc, false],
    ['proven and sealed', secretSecure, true],
  ])('%s: each knows what the other said', (_what, security, sealed) => {
    const { open, errors, sides } = talk(both(security))
    expect(errors).toEqual({})
    expect(open.accepting).toMatchObject({ name: 'osd.1', kind: 'peer', stream: 4, attempt: 2, featuresSupported: 3 })
    expect(open.connecting).toMatchObject({ name: 'osd.2', lastSequence: 77, featuresRequired: 1 })
    expect(sides.connecting.traffic !== undefined).toBe(sealed)
    expect(sides.connecting.traffic?.sending).toEqual(sides.accepting.traffic?.receiving)
    expect(sides.connecting.traffic?.receiving).toEqual(sides.accepting.traffic?.sending)
    if (sealed) expect(sides.connecting.traffic?.sending).not.toEqual(sides.connecting.traffic?.receiving)
  })

  test.each([
    ['secret', 'crc secure', 'secret', 'secure crc', false],
    ['secret', 'secure crc', 'secret', 'crc secure', true],
    ['secret', 'secure', 'none secret', 'crc secure', true],
    ['none secret', 'crc', 'secret none', 'crc', undefined],
    ['none secret', 'crc', 'secret', 'crc', false],
  ])('the connecting side prefers: %s, %s to %s, %s', (auth, mode, theirAuth, theirMode, sealed) => {
    const { open, sides } = talk({
      connecting: securityFrom({ ms_auth: auth, ms_mode: mode }, clusterKey),
      accepting: securityFrom({ ms_auth: theirAuth, ms_mode: theirMode }, clusterKey),
    })
    expect(open.connecting?.name).toBe('osd.2')
    expect(sides.accepting.traffic !== undefined).toBe(sealed ?? false)
  })
})

describe('two sides that do not', () => {
  test.each([
    [openSecurity, secretCrc],
    [secretCrc, openSecurity],
    [secretCrc, secretSecure],
    [secretSecure, secretCrc],
    [secretSecure, openSecurity],
    [securityFrom({ ms_auth: 'none secret', ms_mode: 'crc' }, clusterKey), secretSecure],
  ])('both say so', (connecting, accepting) => {
    const { open, errors } = talk({ connecting, accepting })
    expect(open).toEqual({})
    expect(errors).toMatchObject({ connecting: { code: 'EACCES' }, accepting: { code: 'EACCES' } })
  })

  test.each([secretCrc, secretSecure])(
    'another key: refused by the accepting side, told to the connecting one',
    (security) => {
      const { open, errors } = talk({ connecting: security, accepting: { ...security, secret: otherKey } })
      expect(open).toEqual({})
      expect(errors).toMatchObject({
        accepting: { code: 'EACCES', message: 'osd.1 does not prove that it knows the key of this cluster' },
        connecting: {
          code: 'EACCES',
          message: 'osd.2 refuses us: osd.1 does not prove that it knows the key of this cluster',
        },
      })
    },
  )

  test('an accepting side that lets everybody in, but has not the key, is not believed', () => {
    const { open, errors } = talk(both(secretCrc), (from, message, at) => {
      if (from === 'connecting' || at === 0) return message
      const false_ = message.slice()
      false_.fill(1, -32)
      return false_
    })
    expect(open.connecting).toBeUndefined()
    expect(errors.connecting).toMatchObject({ code: 'EACCES' })
  })

  test('a refusal reaches no terminal with more than letters', () => {
    const { errors } = talk(
      { connecting: secretCrc, accepting: { ...secretCrc, secret: otherKey } },
      (from, message, at) => {
        if (from === 'connecting' || at === 0) return message
        const changed = message.slice()
        changed[20] = 0x1b
        return changed
      },
    )
    expect((errors.connecting as Error).message).toMatch(/^[\x20-\x7e]+$/)
  })
})

/** Makes the checksum of a hello fit again, as somebody who changes it on purpose does. */
function repaired(message: Uint8Array): Uint8Array {
  const view = new DataView(message.buffer, message.byteOffset)
  if (message.length >= 12 && view.getUint32(0, true) === 0x4f4c4853) {
    view.setUint32(8, checksum([message.subarray(12)]), true)
  }
  return message
}

describe('somebody in between', () => {
  const settings: readonly (readonly [string, MessengerSecurity])[] = [
    ['crc', secretCrc],
    ['secure', either],
  ]

  describe.each(settings)('%s', (_name, security) => {
    test.each([1, 0xff])(
      'changes one byte (^ %i), anywhere: no side opens that heard it',
      (mask) => {
        const { said } = talk(both(security))
        const helloBytes = must(said.accepting, 'an answer').length - proofLength(said.accepting)
        for (const from of ['connecting', 'accepting'] as const) {
          for (const repair of [false, true]) {
            for (let place = 0; place < said[from].length; place++) {
              let changed = true
              const { open, errors } = talk(both(security), (speaker, message, at) => {
                if (speaker !== from || place < at || place >= at + message.length) return message
                const original = message.slice()
                message[place - at] = (message[place - at] as number) ^ mask
                if (repair) repaired(message)
                changed = hexEncode(message) !== hexEncode(original)
                return message
              })
              if (!changed) continue
              const hearer = from === 'connecting' ? 'accepting' : 'connecting'
              expect(open[hearer], `${from} byte ${place}`).toBeUndefined()
              if (errors[hearer] !== undefined) {
                expect(['EACCES', 'EPROTO', 'EBADMSG']).toContain((errors[hearer] as { code?: string }).code)
              }
              // The last word may be changed after its speaker, rightly, believes the other.
              if (open[from] === undefined) continue
              expect([from, place >= helloBytes]).toEqual(['accepting', true])
              expect(open[from]).toMatchObject({ name: 'osd.1', stream: 4, attempt: 2, featuresSupported: 3 })
            }
          }
        }
      },
      120_000,
    )
  })

  const rewritten =
    (change: (hello: Hello) => Partial<Hello>, from?: Role) => (speaker: Role, message: Uint8Array, at: number) => {
      if (at !== 0 || (from !== undefined && speaker !== from)) return message
      const { hello } = must(decodeHello(message), 'a whole hello')
      return encodeHello({ ...hello, ...change(hello) })
    }

  test.each<[string, (hello: Hello) => Partial<Hello>]>([
    ['strips secure from both', () => ({ encryptions: ['crc'] })],
    ['strips features', () => ({ featuresSupported: 0, featuresRequired: 0 })],
    ['strips features that are required', () => ({ featuresRequired: 0 })],
    ['names itself', () => ({ name: entityName('osd', 9) })],
    ['makes a client of a peer', () => ({ kind: 'lossy' })],
    ['says an attempt of its own', ({ attempt }) => ({ attempt: attempt + 1 })],
    ['gives challenges of its own', () => ({ challenge: new Uint8Array(32).fill(5) })],
    [
      'says to both that the other knows no secret',
      () => ({ authentications: ['none'], challenge: new Uint8Array(0) }),
    ],
  ])('%s: nobody opens', (_what, change) => {
    for (const from of [undefined, 'connecting', 'accepting'] as const) {
      expect(talk(both(either), rewritten(change, from)).open).toEqual({})
    }
  })

  test('cannot keep out the secret but where a side said that it can do without', () => {
    const lax = securityFrom({ ms_auth: 'secret none', ms_mode: 'crc' }, clusterKey)
    const strip = rewritten(() => ({ authentications: ['none'] }))
    expect(talk({ connecting: lax, accepting: secretCrc }, strip).open.accepting).toBeUndefined()
    expect(talk({ connecting: secretCrc, accepting: lax }, strip).open.connecting).toBeUndefined()
    expect(talk(both(lax), strip).open.connecting?.name).toBe('osd.2')
  })

  test('reflects what a side says back to it: refused', () => {
    const connecting = side('connecting', secretSecure)
    const [hello] = connecting.greet()
    const { say } = connecting.receive(must(hello, 'a hello'))
    const { refused, peer } = connecting.receive(must(say[0], 'a proof'))
    expect(peer).toBeUndefined()
    expect(refused).toMatchObject({ code: 'EACCES' })
  })

  test('puts a key of its own in place of theirs: refused', () => {
    const evil = talk(both(secretSecure), (from, message, at) => {
      if (at === 0 || from === 'accepting') return message
      message.fill(7, 22, 54)
      return message
    })
    expect(evil.open).toEqual({})
  })
})

function proofLength(said: Uint8Array): number {
  return said.length - must(decodeHello(said), 'a hello').rest.byteOffset + said.byteOffset
}

describe('golden bytes', () => {
  test('of a proof without and with a key', () => {
    const crc = talk(both(secretCrc)).said
    const secure = talk(both(secretSecure)).said
    const proofs = [crc.connecting, crc.accepting, secure.connecting, secure.accepting]
    expect(proofs.map((said) => hexEncode(said.subarray(said.length - proofLength(said))))).toEqual(golden)
  })

  test('of the secrets that seal', () => {
    const { sides } = talk(both(secretSecure))
    expect(hexEncode(must(sides.connecting.traffic, 'sealed').sending)).toBe(
      '3c0b390e7cf8f7315bba2795f1e44f0d61b947512d2d7ab6ce9c5f6dc4f02d8e',
    )
    expect(hexEncode(must(sides.connecting.traffic, 'sealed').receiving)).toBe(
      '6aaa4f7203550eaa7ed2dd976b14ea36d0d59c6f235eb11600a73073b4c5bb33',
    )
  })
})

/** Checked against another implementation of HMAC, HKDF and X25519. */
const golden = [
  '53484c4116000000010110000000000000000000000000000000000000009e95087c39b0be9ad02e3bf10ec65010180164bca3b21339a79cd69a119972ae',
  '53484c411600000001011000000000000000000000004d0000000000000006a36a370252eef855d46d4d7d5c2b7347284667b5663301e52261ba169f4457',
  '53484c41360000000101300000000000000020000000f0d71a98f028f7182c8f6d593f3d2660c8482d1eace104875654f6284c2f9942000000000000000016d2745b47758c9d00009b48d466dd3306ee080d3a09631da2ef9d8aa0465d0b',
  '53484c4136000000010130000000000000002000000061b586eeca8c6bf33fff02a35c07d6bbe0caff778e1627e0fe1420c9c407fb034d00000000000000306a56b0ab0b309578f8cba5a4f59e50466154d1bb4338970d513ad11af003a4',
]

describe('the version before', () => {
  const v1 = hexDecode(
    '53484c4f4b0000000147883401014500000001000100000066050000006f73642e330200000001000000010500000000' +
      '000000060000000000000007000000000000000300000000000000000000000900000000000000',
  ) as Uint8Array

  test('is understood, as one that proves and seals nothing', () => {
    const { hello } = must(decodeHello(v1), 'a hello')
    expect(hello).toMatchObject({ authentications: ['none'], encryptions: ['crc'], lastSequence: 9 })
    expect(hello.challenge.length).toBe(0)
  })

  test.each([
    [openSecurity, 0, 0],
    [either, 1, 0],
    [secretSecure, 1, 1],
    [securityFrom({ ms_auth: 'secret none' }, clusterKey), 0, 0],
  ])('reads in our hello what it must not pass over', ({ authentications, encryptions }, first, second) => {
    const said = encodeHello(helloOf('lossy', { fsid: 'f', authentications, encryptions }))
    const at = 12 + 6 + 2 + 5 + 9 + 8 + 1 + 8 + 8 + 8 + 8
    expect([said[at], said[at + 1], said[at + 2], said[at + 3]]).toEqual([first, 0, second, 0])
    // It skips what it does not know: lowest version of a reader that understands.
    expect([said[12], said[13]]).toEqual([2, 1])
  })
})
