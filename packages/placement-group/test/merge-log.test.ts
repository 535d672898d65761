import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { mergeLog } from '../src/merge-log.ts'
import { MissingSet } from '../src/missing-set.ts'
import { type BackfillCursor, backfillComplete, backfillStart } from '../src/pg-info.ts'
import { type LogEntry, PgLog } from '../src/pg-log.ts'
import { entry, object, version } from './support.ts'

function merge(
  local: readonly string[],
  theirs: readonly string[],
  options: { readonly tail?: string; readonly cursor?: BackfillCursor; readonly missing?: MissingSet } = {},
): { readonly missing: readonly string[]; readonly removed: readonly string[]; readonly divergent: number } {
  const entries = local.map(entry)
  const tail = version(options.tail ?? "0'0")
  const segment = new PgLog(tail, theirs.map(entry)).whole()
  const missing = options.missing ?? new MissingSet()
  const head = entries.at(-1)?.version ?? tail
  const result = mergeLog({ tail, head, entries, cursor: options.cursor ?? backfillComplete }, missing, segment)
  return {
    missing: [...missing.values()].map(({ object: { name }, need }) => `${name} ${need.epoch}'${need.version}`).sort(),
    removed: result.removed.map(({ name }) => name).sort(),
    divergent: result.divergent.length,
  }
}

describe('merging logs', () => {
  test('what is new is missing, in its newest version', () => {
    const common = ["modify 4'1 a"]
    expect(merge(common, [...common, "modify 5'2 a 4'1", "modify 5'3 b", "modify 5'4 b 5'3"])).toEqual({
      missing: ["a 5'2", "b 5'4"],
      removed: [],
      divergent: 0,
    })
  })

  test('what was removed meanwhile is removed here, and not missing', () => {
    const common = ["modify 4'1 a"]
    expect(merge(common, [...common, "modify 5'2 a 4'1", "delete 5'3 a 5'2"])).toEqual({
      missing: [],
      removed: ['a'],
      divergent: 0,
    })
    // Made anew after that: the old copy is replaced as a whole.
    expect(merge(common, [...common, "delete 5'2 a 4'1", "modify 5'3 a"]).missing).toEqual(["a 5'3"])
  })

  test('a divergent write is undone: the version before is fetched', () => {
    const common = ["modify 4'1 a"]
    expect(merge([...common, "modify 4'2 a 4'1", "modify 4'3 a 4'2"], [...common, "modify 5'2 b"])).toEqual({
      missing: ["a 4'1", "b 5'2"],
      removed: [],
      divergent: 2,
    })
  })

  test('a divergent creation is removed, a divergent removal is fetched again', () => {
    const common = ["modify 4'1 a"]
    expect(merge([...common, "modify 4'2 b"], common)).toEqual({ missing: [], removed: ['b'], divergent: 1 })
    expect(merge([...common, "delete 4'2 a 4'1"], common).missing).toEqual(["a 4'1"])
  })

  test('the history that wins decides over what it replaces', () => {
    const common = ["modify 4'1 a"]
    expect(merge([...common, "modify 4'2 a 4'1"], [...common, "modify 5'2 a 4'1"]).missing).toEqual(["a 5'2"])
    expect(merge([...common, "modify 4'2 b"], [...common, "modify 5'2 b"])).toMatchObject({
      missing: ["b 5'2"],
      removed: [],
    })
  })

  test('failed requests change nothing', () => {
    expect(merge(["error 4'1 a"], ["modify 5'1 b", "error 5'2 b"])).toEqual({
      missing: ["b 5'1"],
      removed: [],
      divergent: 1,
    })
  })

  test('what the cursor has not reached is left to backfill', () => {
    expect(merge([], ["modify 5'1 a"], { cursor: backfillStart })).toMatchObject({ missing: [], removed: [] })
  })
})

/** Histories of a few objects; each entry knows the version before it. */
function history(epoch: number, first: number, names: readonly string[], prior: Map<string, string>): string[] {
  return names.map((name, at) => {
    const [verb, id] = name.split('-') as [string, string]
    const before = prior.get(id) ?? "0'0"
    const kind = verb === 'd' && before !== "0'0" ? 'delete' : 'modify'
    const now = `${epoch}'${first + at}`
    prior.set(id, kind === 'delete' ? "0'0" : now)
    return `${kind} ${now} ${id} ${before}`
  })
}

test('after a merge and recovery, a copy has exactly what the winning history says', () => {
  const steps = fc.array(fc.constantFrom('m-a', 'm-b', 'm-c', 'd-a', 'd-b', 'd-c'), { maxLength: 8 })
  fc.assert(
    fc.property(steps, steps, steps, (shared, ours, winning) => {
      const known = new Map<string, string>()
      const common = history(4, 1, shared, known)
      const here = new Map(known)
      const local = [...common, ...history(4, common.length + 1, ours, here)].map(entry)
      const there = new Map(known)
      const theirs = [...common, ...history(5, common.length + 1, winning, there)].map(entry)
      const log = new PgLog(version("0'0"), theirs)
      const missing = new MissingSet()
      const head = (local.at(-1) as LogEntry | undefined)?.version ?? version("0'0")
      const { removed } = mergeLog(
        { tail: version("0'0"), head, entries: local, cursor: backfillComplete },
        missing,
        log.whole(),
      )
      for (const { name } of removed) here.set(name, "0'0")
      for (const { object: id, need } of missing.values()) here.set(id.name, `${need.epoch}'${need.version}`)
      for (const id of ['a', 'b', 'c']) expect(here.get(id) ?? "0'0").toBe(there.get(id) ?? "0'0")
    }),
    { numRuns: 500 },
  )
})

describe('the log', () => {
  const log = (): PgLog =>
    new PgLog(version("4'2"), ["modify 4'3 a", "modify 5'4 b", "error 5'5 b", "modify 6'6 a 4'3"].map(entry))

  test('gives what follows a version, or says that it is trimmed', () => {
    expect(log().segmentSince(version("4'1"))).toBeUndefined()
    expect(log().segmentSince(version("4'2"))?.entries).toHaveLength(4)
    // A version that it does not hold: from the newest one below.
    const segment = log().segmentSince(version("5'9"))
    expect(segment?.tail).toEqual(version("5'5"))
    expect(segment?.entries).toHaveLength(1)
  })

  test('knows requests and the newest change of an object until they are trimmed', () => {
    const one = log()
    expect(one.findRequest({ client: 1, tid: 5 })?.errno).toBe(17)
    expect(one.latestOf(object('b'))?.version).toEqual(version("5'4"))
    expect(one.trim(version("5'5"), 100)).toHaveLength(3)
    expect(one.tail).toEqual(version("5'5"))
    expect(one.findRequest({ client: 1, tid: 5 })).toBeUndefined()
    expect(one.latestOf(object('b'))).toBeUndefined()
    expect(one.latestOf(object('a'))?.version).toEqual(version("6'6"))
  })

  test('refuses an entry that is not newer', () => {
    expect(() => log().append(entry("modify 6'6 c"))).toThrow('invariant 1')
  })
})
