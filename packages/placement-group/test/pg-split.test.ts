/** What each part of a split placement group goes on with. */
import { type PgId, poolId } from '@shoal/base'
import { seedOfHash, splitSeeds } from '@shoal/cluster-map'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MissingSet } from '../src/missing-set.ts'
import { type LogEntry, PgLog } from '../src/pg-log.ts'
import { splitChild, splitRemainder } from '../src/pg-split.ts'
import { loadPgState, type StoredPg } from '../src/pg-store.ts'
import { entry, epoch, info, interval, object, osds, version } from './support.ts'

const whole = '1.0' as PgId
const child = '1.1' as PgId

function stored(entries: readonly LogEntry[], tail = "0'0", head = tail): StoredPg {
  const log = new PgLog(version(tail), entries, [], version(head))
  const [osd, other] = osds(0, 1)
  return {
    record: {
      info: { ...info({ started: 3 }), lastUpdate: log.head, logTail: log.tail },
      pastIntervals: [interval(1, 2, osds(0, 1))],
      interval: {
        mapEpoch: epoch(9),
        since: epoch(3),
        up: osds(0, 1),
        acting: osds(0, 1),
        upPrimary: osd as never,
        actingPrimary: osd as never,
        incarnations: [1, 1, 1, other as number],
      },
    },
    log,
    missing: new MissingSet(),
    scrub: undefined,
    temporaries: [],
    stashes: [],
  }
}

const odd = (hash: number): number => hash & 1
const names = Array.from({ length: 40 }, (_, at) => `object-${at}`)
const [ofWhole = '', ofChild = ''] = [0, 1].map((seed) => names.find((name) => odd(object(name).hash) === seed))
const lines = ["modify 3'1 W", "modify 3'2 C", "error 3'3 C", "modify 3'4 W", "delete 3'5 C 3'2"].map(
  (line): LogEntry =>
    // Whose client waits for all of them.
    ({ ...entry(line.replace(' W', ` ${ofWhole}`).replace(' C', ` ${ofChild}`)), oldestTid: 1 }),
)

describe('a split', () => {
  test('gives entries to the part of their object; head and tail are those of the whole', () => {
    const before = stored(lines)
    const rest = splitRemainder(before, { pgId: whole, objects: 1, bytes: 10 }, odd).stored
    const part = splitChild(before, { pgId: child, objects: 0, bytes: 0 }, odd).stored
    expect(rest.log.all().map(({ version: { version: number } }) => number)).toEqual([1, 4])
    expect(part.log.all().map(({ version: { version: number } }) => number)).toEqual([2, 3, 5])
    for (const { log, record } of [rest, part]) {
      expect([log.head, log.tail]).toEqual([version("3'5"), version("0'0")])
      expect(record.info.lastUpdate).toEqual(version("3'5"))
      expect(record.pastIntervals).toEqual(before.record.pastIntervals)
      expect(record.interval).toEqual(before.record.interval)
    }
    expect(rest.log.all().at(-1)).toMatchObject({ pgObjects: 1, pgBytes: 10 })
  })

  test('keeps requests where they may be asked for again, those without an entry in every part', () => {
    const before = stored(lines)
    before.log.trim(version("3'2"), 100)
    const part = splitChild(before, { pgId: child, objects: 0, bytes: 0 }, odd).stored
    for (const tid of [1, 2, 3, 5]) expect(part.log.findRequest({ client: 1, tid })).toBeDefined()
  })

  test('divides what is missing', () => {
    const before = {
      ...stored(lines),
      missing: new MissingSet([ofWhole, ofChild].map((name) => ({ object: object(name), need: version("3'1") }))),
    }
    const rest = splitRemainder(before, { pgId: whole, objects: 1, bytes: 1 }, odd).stored
    const part = splitChild(before, { pgId: child, objects: 1, bytes: 1 }, odd).stored
    expect([...rest.missing.values()].map(({ object: { name } }) => name)).toEqual([ofWhole])
    expect([...part.missing.values()].map(({ object: { name } }) => name)).toEqual([ofChild])
    expect([rest.record.info.missingCount, part.record.info.missingCount]).toEqual([1, 1])
  })

  test('is stored as it goes on', () => {
    const before = stored(lines)
    before.log.trim(version("3'1"), 100)
    const { stored: part, steps } = splitChild(before, { pgId: child, objects: 3, bytes: 7 }, odd)
    const entries = steps
      .flatMap((step) => (step.kind === 'meta-set' ? step.entries : []))
      .sort((a, b) => Buffer.compare(a.key, b.key))
    const loaded = loadPgState(entries)
    expect(loaded?.record).toEqual(part.record)
    expect(loaded?.log.all()).toEqual(part.log.all())
    expect(loaded?.log.head).toEqual(part.log.head)
    expect(loaded?.log.trimmedRequests).toEqual(part.log.trimmedRequests)
  })

  test('a part without entries goes on above the head of the whole', () => {
    const before = stored(lines.filter(({ object: { name } }) => name === ofWhole))
    const { log } = splitChild(before, { pgId: child, objects: 0, bytes: 0 }, odd).stored
    expect(log.length).toBe(0)
    expect(log.segmentSince(log.head)).toEqual({ tail: log.tail, head: version("3'4"), entries: [] })
    expect(() => log.append(entry(`modify 3'4 ${ofChild}`))).toThrow()
    log.append(entry(`modify 4'5 ${ofChild}`))
    expect(log.head).toEqual(version("4'5"))
  })
})

test('every object goes to a part of its PG, whatever the numbers', () => {
  const pool = (pgNum: number) => ({ id: poolId(1), pgNum }) as Parameters<typeof seedOfHash>[0]
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(100), fc.nat(0xffffffff), (oldNum, more, hash) => {
      const newNum = oldNum + more
      const before = seedOfHash(pool(oldNum), hash)
      const after = seedOfHash(pool(newNum), hash)
      const parts = splitSeeds(before, oldNum, newNum)
      expect(after === before || parts.includes(after)).toBe(true)
    }),
  )
})
