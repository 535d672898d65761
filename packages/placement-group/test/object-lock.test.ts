/** Locks as steps of operations, sentence by sentence of the rules in the wire's `object-lock.ts`. */
import { type LockOp, type ObjectLock, type ObjectOp } from '@shoal/wire'
import { describe, expect, test } from 'vitest'
import { isReservedAttribute } from '../src/object-attribute.ts'
import {
  changeLock,
  checkLockOp,
  encodeLock,
  lockAttributeName,
  lockIn,
  locksIn,
  whyNotLocked,
} from '../src/object-lock.ts'
import { needsSpace } from '../src/op-space.ts'

type Taking = Extract<LockOp, { kind: 'lock' }>

const take = (options: Partial<Taking> = {}): Taking => ({
  kind: 'lock',
  name: 'l',
  mode: 'exclusive',
  cookie: '',
  tag: '',
  description: '',
  durationMs: 0,
  renew: 'no',
  ...options,
})

/** One lock through a list of steps; each is [client, time, step, code or 'ok']. */
class Story {
  private xattrs = new Map<string, Uint8Array>()

  step(client: number, nowMs: number, op: Parameters<typeof changeLock>[1], expected: string): this {
    const outcome = changeLock(lockIn(this.xattrs, op.name, nowMs), op, { client, nowMs })
    expect(outcome.kind === 'failed' ? outcome.code : 'ok').toBe(expected)
    if (outcome.kind === 'failed') return this
    if (outcome.lock === undefined) this.xattrs.delete(lockAttributeName(op.name))
    else this.xattrs.set(lockAttributeName(op.name), encodeLock(outcome.lock))
    return this
  }

  holders(nowMs: number, name = 'l'): readonly number[] {
    return lockIn(this.xattrs, name, nowMs)?.holders.map(({ client }) => client) ?? []
  }

  all(nowMs: number): readonly ObjectLock[] {
    return locksIn(this.xattrs, '', nowMs)
  }
}

describe('locks', () => {
  test('an exclusive one has one holder', () => {
    const story = new Story().step(1, 0, take(), 'ok').step(2, 0, take(), 'EBUSY')
    story.step(2, 0, take({ mode: 'shared' }), 'EBUSY').step(1, 0, take({ cookie: 'other' }), 'EBUSY')
    expect(story.holders(0)).toEqual([1])
    story.step(1, 0, { kind: 'unlock', name: 'l', cookie: '' }, 'ok').step(2, 0, take(), 'ok')
    expect(story.holders(0)).toEqual([2])
  })

  test('a shared one has many, who agree on its tag', () => {
    const shared = take({ mode: 'shared', tag: 'backup' })
    const story = new Story().step(1, 0, shared, 'ok').step(2, 0, shared, 'ok')
    story.step(3, 0, take({ mode: 'shared', tag: 'restore' }), 'EBUSY').step(3, 0, take({ tag: 'backup' }), 'EBUSY')
    story.step(1, 0, { ...shared, cookie: 'again' }, 'ok')
    expect(story.holders(0)).toEqual([1, 2, 1])
  })

  test('has a bounded number of holders', () => {
    const story = new Story()
    for (let client = 1; client <= 256; client++) story.step(client, 0, take({ mode: 'shared' }), 'ok')
    story.step(257, 0, take({ mode: 'shared' }), 'EBUSY')
    story.step(7, 0, take({ mode: 'shared', renew: 'must' }), 'ok')
    story.step(8, 0, { kind: 'unlock', name: 'l', cookie: '' }, 'ok').step(257, 0, take({ mode: 'shared' }), 'ok')
  })

  test('is given back on full disks, though none is taken there', () => {
    expect(needsSpace([take()])).toBe(true)
    expect(needsSpace([{ kind: 'unlock', name: 'l', cookie: '' }])).toBe(false)
    expect(needsSpace([{ kind: 'break-lock', name: 'l', client: 1, cookie: '' }])).toBe(false)
  })

  test('is renewed as its holder says', () => {
    const story = new Story().step(1, 0, take({ renew: 'must' }), 'ENOENT').step(1, 0, take({ durationMs: 100 }), 'ok')
    story.step(1, 50, take(), 'EEXIST').step(1, 50, take({ renew: 'may', durationMs: 100 }), 'ok')
    expect(story.holders(149)).toEqual([1])
    expect(story.holders(150)).toEqual([])
    story.step(1, 150, take({ renew: 'must' }), 'ENOENT')
  })

  test('the only holder may make it shared, and exclusive again', () => {
    const story = new Story().step(1, 0, take(), 'ok').step(1, 0, take({ renew: 'must', mode: 'shared' }), 'ok')
    story.step(2, 0, take({ mode: 'shared' }), 'ok').step(1, 0, take({ renew: 'must' }), 'EBUSY')
    story.step(2, 0, { kind: 'unlock', name: 'l', cookie: '' }, 'ok').step(1, 0, take({ renew: 'must' }), 'ok')
  })

  test('ends with its time, for each holder alone', () => {
    const story = new Story().step(1, 0, take({ mode: 'shared', durationMs: 10 }), 'ok')
    story.step(2, 0, take({ mode: 'shared', durationMs: 20 }), 'ok')
    expect(story.holders(9)).toEqual([1, 2])
    expect(story.holders(10)).toEqual([2])
    story
      .step(3, 15, take(), 'EBUSY')
      .step(3, 20, take(), 'ok')
      .step(1, 20, { kind: 'unlock', name: 'l', cookie: '' }, 'ENOENT')
    expect(story.holders(20)).toEqual([3])
  })

  test('is given back by its holder only, and broken by anyone who names the holder', () => {
    const story = new Story().step(1, 0, take({ cookie: 'c' }), 'ok')
    story.step(2, 0, { kind: 'unlock', name: 'l', cookie: 'c' }, 'ENOENT')
    story.step(1, 0, { kind: 'unlock', name: 'l', cookie: '' }, 'ENOENT')
    story.step(2, 0, { kind: 'break-lock', name: 'l', client: 1, cookie: '' }, 'ENOENT')
    story.step(2, 0, { kind: 'break-lock', name: 'l', client: 1, cookie: 'c' }, 'ok')
    expect(story.holders(0)).toEqual([])
  })

  test('locks of several names do not know of each other', () => {
    const story = new Story().step(1, 0, take({ name: 'b' }), 'ok').step(2, 0, take({ name: 'a', durationMs: 5 }), 'ok')
    expect(story.all(0).map(({ name }) => name)).toEqual(['a', 'b'])
    expect(story.all(5).map(({ name }) => name)).toEqual(['b'])
  })

  test('who asks whether it holds one is told why not', () => {
    const lock = lockIn(
      new Map([
        [
          lockAttributeName('l'),
          encodeLock({
            name: 'l',
            mode: 'shared',
            tag: 't',
            holders: [{ client: 1, cookie: 'c', description: '', expiresMs: 9 }],
          }),
        ],
      ]),
      'l',
      5,
    )
    const ask = { kind: 'assert-locked', name: 'l', mode: 'shared', cookie: 'c', tag: 't' } as const
    expect(whyNotLocked(lock, ask, { client: 1, nowMs: 5 })).toBeUndefined()
    expect(whyNotLocked(lock, ask, { client: 2, nowMs: 5 })).toMatch(/held, shared, by client.1 \(cookie 'c'\)/)
    expect(whyNotLocked(lock, { ...ask, mode: 'exclusive' }, { client: 1, nowMs: 5 })).toBeDefined()
    expect(whyNotLocked(lock, { ...ask, tag: '' }, { client: 1, nowMs: 5 })).toBeDefined()
    expect(whyNotLocked(lock, { ...ask, cookie: '' }, { client: 1, nowMs: 5 })).toBeDefined()
    expect(whyNotLocked(undefined, ask, { client: 1, nowMs: 5 })).toMatch(/by nobody/)
  })

  test('unsound steps are refused before they are ordered', () => {
    expect(checkLockOp(take())).toBeUndefined()
    expect(checkLockOp({ kind: 'list-locks', name: '' })).toBeUndefined()
    const unsound: readonly ObjectOp[] = [
      take({ name: '' }),
      take({ name: 'x'.repeat(129) }),
      take({ cookie: 'x'.repeat(513) }),
      take({ durationMs: -1 }),
      take({ durationMs: Number.NaN }),
      { kind: 'unlock', name: '', cookie: '' },
    ]
    for (const op of unsound) expect(checkLockOp(op as LockOp)).toBeDefined()
  })

  test('are stored in these bytes', () => {
    const holders = [{ client: 0x0102, cookie: 'c', description: 'd', expiresMs: 1 }]
    const encoded = encodeLock({ name: 'l', mode: 'shared', tag: '', holders })
    // Version, oldest reader, length; name, mode, tag; one holder.
    const expected =
      '010128000000 010000006c 01 00000000 01000000 0201000000000000 0100000063 0100000064 000000000000f03f'
    const bytes = expected.replaceAll(' ', '')
    expect(Buffer.from(encoded).toString('hex')).toBe(bytes)
    expect(lockIn(new Map([[lockAttributeName('l'), encoded]]), 'l', 0)).toEqual({
      name: 'l',
      mode: 'shared',
      tag: '',
      holders,
    })
  })

  test('live in attributes that clients neither see nor set', () => {
    expect(isReservedAttribute(lockAttributeName('l'))).toBe(true)
    expect(isReservedAttribute('lock.l')).toBe(false)
  })
})
