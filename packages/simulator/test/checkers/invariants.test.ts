import { describe, expect, it } from 'vitest'
import {
  checkConfigInForce,
  checkHealthHistory,
  checkReplicasEqual,
  MapEpochChecker,
  osdTargets,
  PrimaryIntervalChecker,
  type RaftObservation,
  RaftSafetyChecker,
  type ReplicaCopy,
  ResourceCapChecker,
  type StoredCopy,
} from '../../src/index.ts'

describe('map epochs', () => {
  const seen = (observer: string, epoch: number, digest = `d${epoch}`) => ({
    observer,
    atMs: 0,
    map: 'osdmap',
    epoch,
    digest,
  })

  it('may grow, jump, stay, and begin anew with a new life', () => {
    const checker = new MapEpochChecker()
    for (const one of [seen('osd.0#1', 1), seen('osd.0#1', 4), seen('osd.0#1', 4), seen('osd.0#2', 2)])
      checker.observe(one)
    expect(checker.violations).toEqual([])
  })

  it('never go back, and mean the same to all', () => {
    const checker = new MapEpochChecker()
    checker.observe(seen('osd.0#1', 4))
    checker.observe(seen('osd.0#1', 3))
    checker.observe(seen('osd.1#1', 3, 'another'))
    expect(checker.violations.map(({ message }) => message)).toEqual([
      'osd.0#1 went from osdmap 4 back to 3',
      'osdmap 3 of osd.1#1 is not that of osd.0#1',
    ])
  })
})

describe('consensus', () => {
  const entry = (index: number, term: number, digest = `${term}-${index}`) => ({ index, term, digest })
  const of = (node: string, term: number, more: Partial<RaftObservation> = {}): RaftObservation => ({
    node,
    atMs: 0,
    term,
    role: 'follower',
    commitIndex: 0,
    entries: [],
    ...more,
  })
  const messagesOf = (...observations: RaftObservation[]): readonly string[] => {
    const checker = new RaftSafetyChecker()
    for (const one of observations) checker.observe(one)
    return checker.violations.map(({ message }) => message)
  }

  it('lets leaders follow each other, and logs be cut where nothing is committed', () => {
    expect(
      messagesOf(
        of('a', 1, { role: 'leader', entries: [entry(1, 1), entry(2, 1)], commitIndex: 1 }),
        of('b', 1, { entries: [entry(1, 1)], commitIndex: 1 }),
        of('b', 2, { role: 'leader', entries: [entry(2, 2)] }),
        of('a', 2, { entries: [entry(2, 2)], commitIndex: 2 }),
        of('b', 2, { role: 'leader', commitIndex: 2, applied: { index: 2, digest: 's' } }),
        of('a', 2, { commitIndex: 2, applied: { index: 2, digest: 's' } }),
      ),
    ).toEqual([])
  })

  it('has one leader a term', () => {
    expect(messagesOf(of('a', 3, { role: 'leader' }), of('b', 3, { role: 'leader' }))).toEqual([
      'term 3 has two leaders: a and b',
    ])
  })

  it('keeps terms', () => {
    expect(messagesOf(of('a', 3), of('a', 2))).toEqual(['a went from term 3 back to 2'])
  })

  it('never commits two entries in one place', () => {
    expect(
      messagesOf(
        of('a', 1, { entries: [entry(1, 1), entry(2, 1)], commitIndex: 2 }),
        of('b', 2, { entries: [entry(1, 1), entry(2, 2)], commitIndex: 2 }),
      ),
    ).toEqual(['entry 2 was committed as 1 by a and as 2 by b'])
  })

  it('has one content for each entry, and one log before it', () => {
    expect(
      messagesOf(
        of('a', 1, { entries: [entry(1, 1, 'x')] }),
        of('b', 1, { entries: [entry(1, 1, 'y')] }),
        of('a', 4, { entries: [entry(1, 1, 'x'), entry(2, 4)] }),
        of('c', 4, { entries: [entry(1, 2), entry(2, 4)] }),
      ),
    ).toEqual(['entry 1 of term 1 has two contents', 'logs that share entry 2 of term 4 differ before it'])
  })

  it('gives the same state after the same entries', () => {
    expect(
      messagesOf(
        of('a', 1, { applied: { index: 9, digest: 's' } }),
        of('b', 1, { applied: { index: 9, digest: 't' } }),
      ),
    ).toEqual(['the states of a and b differ after entry 9'])
  })
})

describe('primaries', () => {
  const serve = (osd: number, interval: number, atMs: number) => ({
    pgId: '1.0',
    osd,
    interval,
    atMs,
    kind: 'read' as const,
  })
  const count = (...observations: ReturnType<typeof serve>[]): number => {
    const checker = new PrimaryIntervalChecker()
    for (const one of observations) checker.observe(one)
    return checker.violations.length
  }

  it('may follow each other', () => {
    expect(count(serve(0, 5, 1), serve(0, 5, 2), serve(1, 7, 3), serve(1, 7, 9), serve(0, 11, 12))).toBe(0)
  })

  it('never serve after the next one has begun', () => {
    expect(count(serve(0, 5, 1), serve(1, 7, 3), serve(0, 5, 4))).toBe(1)
  })

  it('never share an interval', () => {
    expect(count(serve(0, 5, 1), serve(1, 5, 3))).toBe(1)
  })
})

describe('copies', () => {
  const stored = (change: Partial<StoredCopy> = {}): StoredCopy => ({
    data: new Uint8Array([1, 2, 3]),
    xattrs: new Map([['_', new Uint8Array([9])]]),
    omapHeader: new Uint8Array(0),
    omap: [{ key: new Uint8Array([1]), value: new Uint8Array([2]) }],
    ...change,
  })
  const copy = (osd: number, objects: Readonly<Record<string, StoredCopy>>): ReplicaCopy => ({
    pgId: '1.0',
    osd,
    objects: new Map(Object.entries(objects)),
  })

  it('are equal to the byte', () => {
    expect(checkReplicasEqual([copy(0, { a: stored() }), copy(1, { a: stored() })], { copies: () => 2 })).toEqual([])
  })

  it.each([
    ['data', { data: new Uint8Array([1, 2, 4]) }, 'bytes from 2 on'],
    ['size', { data: new Uint8Array([1, 2]) }, 'size'],
    ['attributes', { xattrs: new Map([['_', new Uint8Array([8])]]) }, "attribute '_'"],
    ['omap', { omap: [] }, 'omap key'],
    ['header', { omapHeader: new Uint8Array(1) }, 'omap header'],
  ])('differ in %s', (_name, change, expected) => {
    const [violation, ...others] = checkReplicasEqual([copy(0, { a: stored() }), copy(1, { a: stored(change) })])
    expect(violation?.message).toContain(expected)
    expect(others).toEqual([])
  })

  it('differ in which objects there are, and in how many copies', () => {
    expect(checkReplicasEqual([copy(0, { a: stored() }), copy(1, {})], { copies: () => 3 })).toHaveLength(2)
  })
})

describe('caps', () => {
  it('are reported once for each daemon and counter', () => {
    const checker = new ResourceCapChecker([
      { counter: 'queued', max: 10 },
      { counter: /Bytes$/, max: 100 },
    ])
    for (const queued of [5, 11, 12])
      checker.observe({ daemon: 'osd.0', atMs: 1, counters: { queued, cacheBytes: 100 } })
    checker.observe({ daemon: 'osd.1', atMs: 1, counters: { queued: -1, other: 1e9 } })
    expect(checker.violations.map(({ message }) => message)).toEqual([
      'osd.0: queued is 11 at 1 ms; the cap is 10',
      'osd.1: queued is -1 at 1 ms; the cap is 10',
    ])
    expect(checker.peaks.get('queued')).toBe(12)
  })
})

describe('the configuration in force', () => {
  const place = { host: 'a', rack: 'r' }
  const stored = ['global', 'osd', 'osd/rack:r', 'osd/host:b'].map((who) => ({
    who,
    section: '',
    mask: '',
    name: 'n',
    value: `of ${who}`,
    level: '',
    needsRestart: false,
  }))
  const check = (row: { readonly name: string; readonly value: string; readonly source: string }) =>
    checkConfigInForce(stored, [{ name: 'osd.0', targets: osdTargets('osd.0', place), own: { m: 3 }, rows: [row] }])

  it('is the most precise that means the daemon, or its own', () => {
    expect(check({ name: 'n', value: 'of osd/rack:r', source: 'osd/rack:r' })).toEqual([])
    expect(check({ name: 'm', value: '3', source: 'default' })).toEqual([])
  })

  it('is not another value, one of another place, or one that was taken back', () => {
    for (const row of [
      { name: 'n', value: 'of osd', source: 'osd' },
      { name: 'n', value: 'of osd/host:b', source: 'osd/host:b' },
      { name: 'n', value: 'of osd', source: 'osd/rack:r' },
      { name: 'm', value: '4', source: 'default' },
      { name: 'm', value: '3', source: 'osd' },
    ]) {
      expect(check(row)).toHaveLength(1)
    }
  })
})

describe('the history of health', () => {
  const told = (...words: readonly string[]) =>
    words.map((word) => {
      const [code = '', event] = word.split(' ')
      return { wallMs: 0, code, event: event as 'failed', severity: 'warning' as const, summary: '' }
    })

  it('is one story', () => {
    const events = told(
      'A failed',
      'B failed',
      'A muted',
      'A worsened',
      'A unmuted',
      'A cleared',
      'A failed',
      'A eased',
    )
    expect(checkHealthHistory(events, ['A', 'B'], true)).toEqual([])
    expect(checkHealthHistory(told('A cleared', 'B worsened'), ['B', 'C'], false)).toEqual([])
  })

  it.each([
    ['failed twice', told('A failed', 'A failed'), ['A']],
    ['and did not fail before', told('A cleared'), []],
    ['never cleared', told('A failed'), []],
    ['never failed', told('A failed', 'A cleared'), ['A']],
    ['never failed', [], ['A']],
  ])('with a check that %s is not', (message, events, failing) => {
    expect(checkHealthHistory(events, failing, true)).toMatchObject([
      { message: expect.stringContaining(message) as string },
    ])
  })
})
