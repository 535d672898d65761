/** Which requests are known after their log entries are gone. */
import type { Version } from '@shoal/wire'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PgLog } from '../src/pg-log.ts'
import { loadPgState, setLogEntries, setRecord, setTrimmedRequests } from '../src/pg-store.ts'
import { type DoneRequest, RequestTable } from '../src/request-table.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { MemoryStore } from './simulation/memory-store.ts'
import { entry, epoch, info, version } from './support.ts'

const at = (number: number): Version => ({ epoch: epoch(1), version: number })

function done(number: number, client: number, tid: number, oldestTid: number, errno = 0): DoneRequest {
  return { request: { client, tid }, oldestTid, version: at(number), errno }
}

function filled(entries: readonly DoneRequest[]): RequestTable {
  const table = new RequestTable([])
  for (const one of entries) table.add(one)
  return table
}

describe('requests without entries', () => {
  it('are kept while their client may still wait for them, with their outcome', () => {
    const entries = [done(1, 5, 1, 1), done(2, 5, 2, 1, 17), done(3, 5, 3, 2)]
    const table = filled(entries)
    table.trim(entries, 100)
    // Request 3 told that the client waits for 2 still, and for 1 no more.
    expect(table.trimmed).toEqual([done(2, 5, 2, 1, 17), done(3, 5, 3, 2)])
    expect(table.find({ client: 5, tid: 2 })).toMatchObject({ errno: 17, version: at(2) })
    expect(table.find({ client: 5, tid: 1 })).toBeUndefined()
    expect(table.isOver({ client: 5, tid: 1 })).toBe(true)
    expect(table.isOver({ client: 5, tid: 4 })).toBe(false)
    expect(table.isOver({ client: 6, tid: 1 })).toBe(false)
  })

  it('go when their client says so, however long that takes', () => {
    const first = done(1, 5, 1, 1)
    const table = filled([first])
    table.trim([first], 100)
    for (let number = 2; number < 500; number++) table.add(done(number, 6, number, number))
    expect(table.find({ client: 5, tid: 1 })).toBeDefined()
    table.add(done(500, 5, 2, 2))
    table.trim([], 100)
    expect(table.find({ client: 5, tid: 1 })).toBeUndefined()
    expect(table.isOver({ client: 5, tid: 1 })).toBe(true)
  })

  it('cost a busy client no more than what it has under way', () => {
    const window = 8
    const table = new RequestTable([])
    const log: DoneRequest[] = []
    for (let tid = 1; tid <= 5_000; tid++) {
      const one = done(tid, 5, tid, Math.max(1, tid - window + 1))
      table.add(one)
      log.push(one)
      if (log.length > 200) table.trim(log.splice(0, 20), 1_000)
      expect(table.trimmed.length).toBeLessThanOrEqual(window)
    }
  })

  it('are bounded when clients come and go: the oldest give way', () => {
    const table = new RequestTable([])
    for (let client = 1; client <= 1_000; client++) {
      const one = done(client, client, 1, 1)
      table.add(one)
      table.trim([one], 100)
    }
    expect(table.trimmed.map(({ request }) => request.client)).toEqual(Array.from({ length: 100 }, (_, i) => i + 901))
    expect(table.find({ client: 900, tid: 1 })).toBeUndefined()
    expect(table.find({ client: 901, tid: 1 })).toBeDefined()
  })

  it('never hold one that is over, and lose none that is not', () => {
    const send = fc.record({
      client: fc.integer({ min: 1, max: 3 }),
      answered: fc.nat(3),
      trim: fc.nat(4),
    })
    fc.assert(
      fc.property(fc.array(send, { maxLength: 120 }), (sends) => {
        const table = new RequestTable([])
        const log: DoneRequest[] = []
        const clients = new Map<number, { next: number; oldest: number }>()
        let number = 0
        for (const { client, answered, trim } of sends) {
          const state = clients.get(client) ?? { next: 1, oldest: 1 }
          clients.set(client, state)
          const tid = state.next++
          // Some of what came before has been answered by now.
          state.oldest = Math.min(tid, state.oldest + answered)
          const one = done(++number, client, tid, state.oldest)
          table.add(one)
          log.push(one)
          if (trim === 0) table.trim(log.splice(0, Math.ceil(log.length / 2)), 10_000)
          for (const [id, { next, oldest }] of clients) {
            for (let older = 1; older < next; older++) {
              const request = { client: id, tid: older }
              if (older >= oldest) expect(table.find(request)).toBeDefined()
              else expect(table.find(request) !== undefined || table.isOver(request)).toBe(true)
            }
          }
        }
      }),
      { numRuns: 200 },
    )
  })
})

describe('a log', () => {
  it('hands its requests over when it is cut, and finds them again after a restart', () => {
    const entries = [entry("modify 1'1 a"), entry("error 1'2 a 1'1"), { ...entry("modify 1'3 b"), oldestTid: 2 }]
    const log = new PgLog(version("0'0"), entries)
    expect(log.trim(version("1'2"), 10).length).toBe(2)
    expect(log.trimmedRequests.map(({ request }) => request.tid)).toEqual([2])
    const store = new MemoryStore()
    store.submit({ ops: [{ kind: 'create-collection', collection: simulatedPg }] })
    const interval = {
      mapEpoch: epoch(1),
      since: epoch(1),
      up: [],
      acting: [],
      upPrimary: -1 as never,
      actingPrimary: -1 as never,
      incarnations: [],
    }
    const record = { info: info({ lastUpdate: "1'3", logTail: "1'2" }), pastIntervals: [], interval }
    const requests = setTrimmedRequests(simulatedPg, log.trimmedRequests)
    store.submit({ ops: [setRecord(simulatedPg, record), setLogEntries(simulatedPg, log.all()), requests] })
    const found = loadPgState(store.metaEntries(new Uint8Array([0]), new Uint8Array([255])))
    expect(found?.log.findRequest({ client: 1, tid: 2 })).toMatchObject({ errno: 17 })
    expect(found?.log.findRequest({ client: 1, tid: 3 })).toMatchObject({ version: version("1'3") })
    expect(found?.log.isRequestOver({ client: 1, tid: 1 })).toBe(true)
    store.submit({ ops: [setTrimmedRequests(simulatedPg, [])] })
    const without = loadPgState(store.metaEntries(new Uint8Array([0]), new Uint8Array([255])))
    expect(without?.log.trimmedRequests).toEqual([])
  })

  it('drops what is kept of requests that its own entries hold', () => {
    const first = entry("modify 1'1 a")
    const log = new PgLog(version("0'0"), [first, entry("modify 1'2 b")], [first])
    expect(log.trimmedRequests).toEqual([])
    log.trim(version("1'2"), 10)
    expect(log.trimmedRequests.map(({ request }) => request.tid)).toEqual([2])
  })
})
