/** What the checker of critical sections takes for broken. That sound clusters pass and broken ones do not: planted bugs. */
import { utf8Encode } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { type FinalReader, History, type HistoryOutcome, workloads } from '../../src/index.ts'

const ok: HistoryOutcome = { kind: 'ok', value: undefined }
const unknown: HistoryOutcome = { kind: 'unknown' }
const failed: HistoryOutcome = { kind: 'failed', code: 'EBUSY' }

type Write = readonly [process: number, value: number, outcome: HistoryOutcome]

async function violations(writes: readonly Write[], last: number | undefined): Promise<readonly string[]> {
  const history = new History()
  for (const [process, value, outcome] of writes) {
    const event = history.begin(process, 'section-0.0', { kind: 'execute', pool: 'p', value }, process)
    history.end(event, outcome, process + 1)
  }
  const data = utf8Encode(String(last))
  const found = { data, xattrs: new Map(), omapHeader: data, omap: [], version: 1 }
  const final = { read: () => Promise.resolve(last === undefined ? undefined : found) } as unknown as FinalReader
  const workload = workloads['locks']?.()
  return ((await workload?.check(history, final)) ?? []).map(({ message }) => message)
}

describe('critical sections', () => {
  it('may fail, stay without an answer, and go on after one that did', async () => {
    expect(
      await violations(
        [
          [0, 1, ok],
          [1, 2, failed],
          [1, 2, ok],
          [2, 3, unknown],
        ],
        2,
      ),
    ).toEqual([])
    expect(
      await violations(
        [
          [0, 1, ok],
          [2, 2, unknown],
          [0, 3, ok],
        ],
        3,
      ),
    ).toEqual([])
    expect(await violations([[0, 1, unknown]], undefined)).toEqual([])
  })

  it('were not exclusive when two wrote the same number', async () => {
    expect(
      await violations(
        [
          [0, 1, ok],
          [1, 1, ok],
        ],
        1,
      ),
    ).toEqual([expect.stringContaining('by client 0 and by 1')])
  })

  it('were overwritten when the end is less than what was acknowledged', async () => {
    expect(
      await violations(
        [
          [0, 1, ok],
          [1, 2, ok],
        ],
        1,
      ),
    ).toEqual([expect.stringContaining('though 2 was acknowledged')])
    expect(await violations([[0, 1, ok]], undefined)).toEqual([expect.stringContaining('is 0 in the end')])
  })
})
