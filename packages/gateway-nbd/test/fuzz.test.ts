/** Bytes that nobody should send, and good ones cut anywhere: the handshake and the requests, without sockets. */
import { InputBuffer, utf8Encode } from '@shoal/base'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Negotiation, type NegotiationStep } from '../src/negotiation.ts'
import { command, commandFlag, limits, optionMagic, optionReplyMagic, requestMagic } from '../src/protocol.ts'
import { findFault, type NbdRequest, RequestParser, statusQuery } from '../src/request.ts'
import { MemoryDevice } from './memory-device.ts'

const device = new MemoryDevice(1024 * 1024)

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

/** Cut at the fractions given, empty pieces left out. */
function cut(bytes: Uint8Array, at: readonly number[]): readonly Uint8Array[] {
  const places = [0, ...at.map((fraction) => Math.floor(fraction * bytes.length)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, i) => bytes.slice(places[i], end))
}

interface Handshake {
  readonly output: Uint8Array
  readonly last: NegotiationStep
}

/** Plays the connection: answers each question at once. What is asked for by the name `none` is not there. */
function play(pieces: readonly Uint8Array[], tls: 'off' | 'optional' | 'required'): Handshake {
  const negotiation = new Negotiation({ tls })
  const input = new InputBuffer()
  const output: Uint8Array[] = []
  let last: NegotiationStep = { kind: 'need-bytes' }
  for (const piece of pieces) {
    input.push(piece)
    for (;;) {
      last = negotiation.advance(input)
      if (last.kind === 'ask') {
        const { question } = last
        if (question.kind === 'list') negotiation.answerList([{ name: 'disk', description: 'd' }])
        else if (question.name === 'none') last = negotiation.answerRefusal('errorUnknown', 'none') ?? last
        else if (question.kind === 'snapshots') negotiation.answerSnapshots(['monday'])
        else last = negotiation.answerOpen(device, question.name) ?? last
      }
      output.push(...negotiation.takeOutput())
      if (last.kind !== 'ask' && last.kind !== 'secure') break
    }
    if (last.kind !== 'need-bytes') break
    // Invariant 2: what is kept is less than one option.
    expect(input.length).toBeLessThan(limits.optionBytesMax + 16)
  }
  return { output: concat(output), last }
}

/** The replies behind the greeting, in the form that a client reads them. */
function repliesOf(output: Uint8Array): readonly { readonly option: number; readonly type: number }[] {
  const fields = new DataView(output.buffer, output.byteOffset, output.byteLength)
  const replies: { option: number; type: number }[] = []
  for (let at = 18; at < output.length; ) {
    expect(fields.getBigUint64(at)).toBe(optionReplyMagic)
    replies.push({ option: fields.getUint32(at + 8), type: fields.getUint32(at + 12) })
    at += 20 + fields.getUint32(at + 16)
    expect(at).toBeLessThanOrEqual(output.length)
  }
  return replies
}

const u32 = (value: number): Uint8Array => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return new Uint8Array(bytes)
}
const text = (value: string): Uint8Array => concat([u32(utf8Encode(value).length), utf8Encode(value)])

const names = fc.constantFrom('disk', 'none', '', 'ü'.repeat(9))
const queries = fc.array(fc.constantFrom('base:', 'base:allocation', 'qemu:dirty-bitmap:monday', 'x', ''), {
  maxLength: 4,
})
/** INFO, LIST, META_CONTEXT and so on; never what ends the handshake. */
const soundOptions = fc.oneof(
  fc.record({ code: fc.constantFrom(3, 5, 8, 11), data: fc.constant(new Uint8Array()) }),
  fc.record({ code: fc.constant(6), data: names.map((name) => concat([text(name), new Uint8Array([0, 1, 0, 3])])) }),
  fc.record({
    code: fc.constantFrom(9, 10),
    data: fc.tuple(names, queries).map(([name, all]) => concat([text(name), u32(all.length), ...all.map(text)])),
  }),
)
const option = fc.oneof(
  soundOptions,
  fc.record({ code: fc.nat(20), data: fc.uint8Array({ maxLength: 40 }) }),
  fc.record({ code: fc.constantFrom(6, 7, 9, 10), data: fc.constant(new Uint8Array(limits.optionBytesMax + 1)) }),
)

function encodeOption({ code, data }: { readonly code: number; readonly data: Uint8Array }): Uint8Array {
  const header = Buffer.alloc(16)
  header.writeBigUInt64BE(optionMagic)
  header.writeUInt32BE(code, 8)
  header.writeUInt32BE(data.length, 12)
  return concat([header, data])
}

const tlsMode = fc.constantFrom('off' as const, 'optional' as const, 'required' as const)
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 })
const clientFlags = new Uint8Array([0, 0, 0, 3])

describe('the handshake', () => {
  test('answers the same however its bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(option, { maxLength: 8 }), cuts, tlsMode, (options, at, tls) => {
        const bytes = concat([clientFlags, ...options.map(encodeOption)])
        const whole = play([bytes], tls)
        const pieces = play(cut(bytes, at), tls)
        expect(Buffer.compare(pieces.output, whole.output)).toBe(0)
        expect(pieces.last).toEqual(whole.last)
      }),
    )
  })

  test('ends every option with one last reply, in order', () => {
    fc.assert(
      fc.property(fc.array(soundOptions, { maxLength: 8 }), tlsMode, (options, tls) => {
        const { output, last } = play([concat([clientFlags, ...options.map(encodeOption)])], tls)
        expect(last.kind).toBe('need-bytes')
        const ends = repliesOf(output).filter(({ type }) => type === 1 || type >= 0x8000_0000)
        expect(ends.map((end) => end.option)).toEqual(options.map(({ code }) => code))
      }),
    )
  })

  test('survives noise, and noise in place of a byte', () => {
    const noise = fc.uint8Array({ maxLength: 300 })
    fc.assert(
      fc.property(
        fc.array(option, { maxLength: 6 }),
        noise,
        fc.nat(),
        fc.nat(255),
        cuts,
        (options, tail, at, byte, where) => {
          const bytes = concat([clientFlags, ...options.map(encodeOption), tail])
          bytes[at % bytes.length] = byte
          play(cut(bytes, where), 'optional')
        },
      ),
      { numRuns: 500 },
    )
  })
})

// Requests

const field = fc.oneof(fc.nat(device.sizeBytes + 10), fc.constantFrom(0, 2 ** 31, 2 ** 32 - 1))
const request = fc.record({
  type: fc.nat(9),
  flags: fc.oneof(fc.constant(0), fc.nat(63), fc.nat(65_535)),
  cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  offset: fc.oneof(field.map(BigInt), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
  length: field,
  payload: fc.uint8Array({ maxLength: 64 }),
})
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never

function carriesPayload({ type, flags }: Request, extended: boolean): boolean {
  return type === command.write || (extended && (flags & commandFlag.payloadLength) !== 0)
}

function encodeRequest(one: Request, extended: boolean): Uint8Array {
  const header = Buffer.alloc(extended ? 32 : 28)
  const payload = carriesPayload(one, extended) ? one.payload : new Uint8Array()
  const length = carriesPayload(one, extended) ? payload.length : one.length
  header.writeUInt32BE(extended ? 0x21e41c71 : requestMagic)
  header.writeUInt16BE(one.flags, 4)
  header.writeUInt16BE(one.type, 6)
  header.writeBigUInt64BE(one.cookie, 8)
  header.writeBigUInt64BE(one.offset, 16)
  if (extended) header.writeBigUInt64BE(BigInt(length), 24)
  else header.writeUInt32BE(length, 24)
  return concat([header, payload])
}

function parse(pieces: readonly Uint8Array[], extended: boolean): { requests: NbdRequest[]; followable: boolean } {
  const parser = new RequestParser(extended)
  const input = new InputBuffer()
  const requests: NbdRequest[] = []
  for (const piece of pieces) {
    input.push(piece)
    for (;;) {
      const one = parser.next(input)
      if (one === 'unfollowable') return { requests, followable: false }
      if (one === 'need-bytes') break
      requests.push(one)
    }
  }
  return { requests, followable: true }
}

describe('requests', () => {
  test('are found one by one however their bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 12 }), cuts, fc.boolean(), (requests, at, extended) => {
        const bytes = concat(requests.map((one) => encodeRequest(one, extended)))
        const parsed = parse(cut(bytes, at), extended)
        expect(parsed.followable).toBe(true)
        expect(
          parsed.requests.map(({ type, flags, cookieHigh, cookieLow, offsetHigh, offsetLow, data }) => ({
            type,
            flags,
            cookie: (BigInt(cookieHigh) << 32n) + BigInt(cookieLow),
            offset: (BigInt(offsetHigh) << 32n) + BigInt(offsetLow),
            payload: data === undefined ? undefined : [...data],
          })),
        ).toEqual(
          requests.map((one) => ({
            type: one.type,
            flags: one.flags,
            cookie: one.cookie,
            offset: one.offset,
            payload: carriesPayload(one, extended) ? [...one.payload] : undefined,
          })),
        )
      }),
    )
  })

  test('that are let through to the device lie inside it, whatever was negotiated', () => {
    const terms = fc.record({ flags: fc.nat(8191), extended: fc.boolean(), contexts: fc.nat(2) })
    fc.assert(
      fc.property(request, terms, (one, negotiated) => {
        const { requests } = parse([encodeRequest(one, negotiated.extended)], negotiated.extended)
        for (const parsed of requests) {
          if (findFault(parsed, negotiated, device.sizeBytes) !== undefined) continue
          const isStatus = parsed.type === command.blockStatus
          const length = isStatus ? (statusQuery(parsed) as { length: number }).length : parsed.length
          expect(parsed.offset + length).toBeLessThanOrEqual(device.sizeBytes)
          if (isStatus) expect(negotiated.contexts).toBeGreaterThan(0)
          if (parsed.type === command.write) expect(parsed.data?.length).toBe(length)
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('of noise are none, and end the connection once there is a header of it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), cuts, fc.boolean(), (noise, at, extended) => {
        fc.pre(noise[0] !== 0x25 && noise[0] !== 0x21)
        const { requests, followable } = parse(cut(noise, at), extended)
        expect(requests).toEqual([])
        expect(followable).toBe(noise.length < (extended ? 32 : 28))
      }),
    )
  })
})
