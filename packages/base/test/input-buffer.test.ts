import fc from 'fast-check'
import { expect, test } from 'vitest'
import { concatBytes, InputBuffer, Prng } from '../src/index.ts'

const action = fc.oneof(
  fc.record({ kind: fc.constant('push' as const), size: fc.integer({ min: 0, max: 200_000 }) }),
  fc.record({ kind: fc.constant('take' as const), size: fc.integer({ min: 0, max: 150_000 }) }),
  fc.record({ kind: fc.constant('drop' as const), size: fc.integer({ min: 0, max: 90_000 }) }),
  fc.record({ kind: fc.constant('reserve' as const), size: fc.integer({ min: 0, max: 700_000 }) }),
  fc.record({ kind: fc.constant('peek' as const), size: fc.integer({ min: 0, max: 5_000 }) }),
)

test('gives what was pushed, in order, and leaves alone what it has given', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), fc.nat(), (actions, seed) => {
      const random = new Prng(seed)
      const buffer = new InputBuffer()
      // One buffer for all chunks, as a socket has it: it holds other bytes by the time the next is pushed.
      const lent = new Uint8Array(200_000)
      const taken: { readonly given: Uint8Array; readonly copy: Uint8Array }[] = []
      let expected: Uint8Array = new Uint8Array(0)
      for (const { kind, size } of actions) {
        if (kind === 'push') {
          const chunk = lent.subarray(0, size)
          chunk.set(random.bytes(size))
          buffer.push(chunk)
          expected = concatBytes([expected, chunk.slice()])
        } else if (kind === 'reserve') {
          buffer.reserve(size)
        } else if (kind === 'drop') {
          expect(buffer.drop(size)).toBe(Math.min(size, expected.length))
          expected = expected.subarray(Math.min(size, expected.length))
        } else if (size <= expected.length) {
          const given = kind === 'take' ? buffer.take(size) : buffer.peek(size).subarray(0, size)
          expect(Buffer.compare(given, expected.subarray(0, size))).toBe(0)
          if (kind === 'take') {
            taken.push({ given, copy: given.slice() })
            expected = expected.subarray(size)
          }
        }
        expect(buffer.length).toBe(expected.length)
      }
      for (const { given, copy } of taken) expect(Buffer.compare(given, copy)).toBe(0)
    }),
    { numRuns: 200 },
  )
})

test('a message that was reserved is not copied again, though another begins in its last chunk', () => {
  const buffer = new InputBuffer()
  const head = new Uint8Array(1000).fill(1)
  const rest = new Uint8Array(500_000).fill(2)
  buffer.push(head)
  buffer.reserve(500_000)
  buffer.push(rest)
  const message = buffer.take(500_000)
  expect([message.length, message.buffer.byteLength, message[999], message[1000]]).toEqual([500_000, 500_000, 1, 2])
  expect(Buffer.compare(buffer.take(1000), rest.subarray(0, 1000))).toBe(0)
  expect(buffer.length).toBe(0)
})

test('more than there is cannot be taken', () => {
  const buffer = new InputBuffer()
  buffer.push(new Uint8Array(3))
  expect(() => buffer.take(4)).toThrow('ask only for what has arrived')
})
