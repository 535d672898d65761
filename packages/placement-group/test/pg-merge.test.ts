/** What a merged placement group goes on with. */
import type { PgId } from '@shoal/base'
import type { DoneMerge } from '@shoal/cluster-map'
import { describe, expect, test } from 'vitest'
import { MissingSet } from '../src/missing-set.ts'
import { PgLog } from '../src/pg-log.ts'
import { isMergedAlready, mergeCopies } from '../src/pg-merge.ts'
import { cutOffMerge, loadPgState, markMerge, type StoredPg } from '../src/pg-store.ts'
import { entry, epoch, info, object, osds, version } from './support.ts'

const target = '1.0' as PgId
const source = '1.2' as PgId

function stored(head: string, lines: readonly string[], oldestTid = 1): StoredPg {
  const log = new PgLog(
    version("0'0"),
    lines.map((line) => ({ ...entry(line), oldestTid })),
    [],
    version(head),
  )
  const [osd] = osds(0)
  return {
    record: {
      info: { ...info({ started: 3 }), lastUpdate: log.head, logTail: log.tail, objects: 2, bytes: 20 },
      pastIntervals: [],
      interval: {
        mapEpoch: epoch(9),
        since: epoch(3),
        up: osds(0),
        acting: osds(0),
        upPrimary: osd as never,
        actingPrimary: osd as never,
        incarnations: [1, 1],
      },
    },
    log,
    missing: new MissingSet(),
    scrub: undefined,
    temporaries: [],
    stashes: [],
  }
}

const done = (sourceVersion: string, targetVersion: string): DoneMerge => ({
  epoch: epoch(10),
  source,
  target,
  sourceVersion,
  targetVersion,
})

describe('a merge', () => {
  test('of copies that have all is one that has all, with a log that begins anew above both', () => {
    const merged = mergeCopies(
      stored("3'2", ["modify 3'2 a"]),
      stored("3'7", ["modify 3'7 b"]),
      target,
      done("3'7", "3'2"),
    ).stored
    expect(merged.log.length).toBe(0)
    expect([merged.log.head, merged.log.tail]).toEqual([version("10'8"), version("10'8")])
    expect(merged.record.info).toMatchObject({
      lastUpdate: version("10'8"),
      lastBackfill: { kind: 'complete' },
      objects: 4,
      bytes: 40,
    })
    for (const tid of [2, 7]) expect(merged.log.findRequest({ client: 1, tid })).toBeDefined()
    expect(isMergedAlready(merged, done("3'7", "3'2"))).toBe(true)
  })

  test('of a copy that is behind, ahead or not filled in either is believed by nobody', () => {
    const [a, b] = [stored("3'2", ["modify 3'2 a"]), stored("3'7", ["modify 3'7 b"])]
    const filling = {
      ...a,
      record: { ...a.record, info: { ...a.record.info, lastBackfill: { kind: 'start' as const } } },
    }
    const cases = [
      mergeCopies(a, b, target, done("3'8", "3'2")),
      mergeCopies(a, b, target, done("3'7", "3'1")),
      mergeCopies(filling, b, target, done("3'7", "3'2")),
      mergeCopies(a, undefined, target, done("3'7", "3'2")),
      mergeCopies(a, b, target, undefined),
    ]
    for (const { stored: merged } of cases) {
      expect(merged.record.info.lastBackfill).toEqual({ kind: 'start' })
      expect(merged.log.head).toEqual(version("3'2"))
      expect(merged.log.length).toBe(0)
    }
  })

  test('takes what is missing along where the copy has all else, and drops the old copies of it where it has not', () => {
    const a = stored("3'2", ["modify 3'2 a"])
    const b = {
      ...stored("3'7", ["modify 3'7 b"]),
      missing: new MissingSet([{ object: object('b'), need: version("3'7") }]),
    }
    const exact = mergeCopies(a, b, target, done("3'7", "3'2"))
    expect([...exact.stored.missing.values()].map(({ object: { name } }) => name)).toEqual(['b'])
    expect(exact.stored.record.info.missingCount).toBe(1)
    const doubtful = mergeCopies(a, b, target, undefined)
    expect(doubtful.stored.missing.size).toBe(0)
    expect(doubtful.steps[0]).toMatchObject({ kind: 'remove', object: object('b') })
  })

  test('lets no request count as over by what its client said of the other placement group', () => {
    const merged = mergeCopies(
      stored("3'2", ["modify 3'2 a"], 2),
      stored("3'7", ["modify 3'7 b"], 7),
      target,
      done("3'7", "3'2"),
    ).stored
    // It waits for request 5 of the target still, which nobody has seen yet.
    expect(merged.log.isRequestOver({ client: 1, tid: 5 })).toBe(false)
    expect(merged.log.isRequestOver({ client: 1, tid: 1 })).toBe(true)
    const alone = mergeCopies(stored("3'2", []), stored("3'7", ["modify 3'7 b"], 7), target, done("3'7", "3'2")).stored
    expect(alone.log.isRequestOver({ client: 1, tid: 5 })).toBe(false)
  })

  test('is stored as it goes on, without its mark', () => {
    const { stored: merged, steps } = mergeCopies(
      stored("3'2", ["modify 3'2 a"]),
      stored("3'7", ["modify 3'7 b"]),
      target,
      done("3'7", "3'2"),
    )
    const entries = steps
      .flatMap((step) => (step.kind === 'meta-set' ? step.entries : []))
      .sort((a, b) => Buffer.compare(a.key, b.key))
    const loaded = loadPgState(entries)
    expect(loaded?.record).toEqual(merged.record)
    expect(loaded?.log.head).toEqual(merged.log.head)
    expect(loaded?.log.trimmedRequests).toEqual(merged.log.trimmedRequests)
    const mark = markMerge(target, source, 3)
    expect(cutOffMerge(mark.kind === 'meta-set' ? mark.entries : [])).toEqual({ source, pgNum: 3 })
    expect(cutOffMerge(entries)).toBeUndefined()
  })
})
