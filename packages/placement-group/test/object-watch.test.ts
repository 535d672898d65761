/** Registrations in the attribute of an object. */
import { type ObjectWatcher, type WatchOp, watchLimits } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import { isReservedAttribute } from '../src/object-attribute.ts'
import { changeWatchers, checkWatchOp, encodeWatchers, watchAttributeName, watchersIn } from '../src/object-watch.ts'
import { needsSpace } from '../src/op-space.ts'

const watch = (cookie: number, timeoutMs = 30_000) => ({ kind: 'watch', cookie, timeoutMs }) as const
const unwatch = (cookie: number, client = 0) => ({ kind: 'unwatch', client, cookie }) as const

function story(...steps: readonly (readonly [client: number, op: Parameters<typeof changeWatchers>[1]])[]) {
  let watchers: readonly ObjectWatcher[] = []
  const outcomes: string[] = []
  for (const [client, op] of steps) {
    const outcome = changeWatchers(watchers, op, client)
    outcomes.push(outcome.kind === 'failed' ? outcome.code : 'ok')
    if (outcome.kind === 'changed') watchers = outcome.watchers
  }
  return { watchers: watchers.map(({ client, cookie }) => [client, cookie]), outcomes }
}

describe('registrations', () => {
  it('are told apart by client and cookie, and may be made twice', () => {
    expect(story([1, watch(1)], [1, watch(2)], [2, watch(1)], [1, watch(1)])).toEqual({
      watchers: [
        [1, 2],
        [2, 1],
        [1, 1],
      ],
      outcomes: ['ok', 'ok', 'ok', 'ok'],
    })
  })

  it('end by their client, or by the cluster, and not twice', () => {
    expect(story([1, watch(1)], [2, unwatch(1)], [1, unwatch(1)], [1, unwatch(1)])).toEqual({
      watchers: [],
      outcomes: ['ok', 'ENOTCONN', 'ok', 'ENOTCONN'],
    })
    expect(story([1, watch(1)], [99, unwatch(1, 1)])).toEqual({ watchers: [], outcomes: ['ok', 'ok'] })
  })

  it('are bounded, and one that is there is renewed all the same', () => {
    const full = Array.from({ length: watchLimits.watchersMax }, (_, cookie) => [1, watch(cookie)] as const)
    expect(story(...full, [2, watch(1)], [1, watch(0)]).outcomes.slice(-2)).toEqual(['EBUSY', 'ok'])
  })

  it('are an attribute that no client sees, in these bytes', () => {
    expect(isReservedAttribute(watchAttributeName)).toBe(true)
    const watchers: readonly ObjectWatcher[] = [{ client: 4711, cookie: 2, timeoutMs: 30_000 }]
    const encoded = encodeWatchers(watchers)
    expect(Buffer.from(encoded).toString('hex')).toBe('010118000000010000006712000000000000020000000000000030750000')
    expect(watchersIn(new Map([[watchAttributeName, encoded]]))).toEqual(watchers)
    expect(watchersIn(new Map())).toEqual([])
  })

  it('take space, and give it back on full disks', () => {
    expect([needsSpace([watch(1)]), needsSpace([unwatch(1)])]).toEqual([true, false])
  })
})

describe('a step', () => {
  const data = (length: number): Uint8Array => new Uint8Array(length)
  it.each<readonly [WatchOp, number, boolean]>([
    [watch(1), 1, true],
    [watch(1), 2, false],
    [watch(1, watchLimits.timeoutMsMin - 1), 1, false],
    [watch(1, watchLimits.timeoutMsMax + 1), 1, false],
    [unwatch(1), 1, true],
    [unwatch(1, 5), 1, false],
    [{ kind: 'notify', timeoutMs: 1, data: data(watchLimits.notifyBytesMax) }, 1, true],
    [{ kind: 'notify', timeoutMs: 0, data: data(0) }, 1, false],
    [{ kind: 'notify', timeoutMs: 1, data: data(watchLimits.notifyBytesMax + 1) }, 1, false],
    [{ kind: 'notify-ack', notifyId: 1, cookie: 1, data: data(watchLimits.ackBytesMax + 1) }, 1, false],
    [{ kind: 'list-watchers' }, 1, true],
    [{ kind: 'watch-ping', cookie: 1 }, 3, false],
  ])('%o of %i is sound: %s', (op, steps, sound) => {
    expect(checkWatchOp(op, steps) === undefined).toBe(sound)
  })
})
