/**
 * Two diffs in a row as one: from the first's beginning to the second's end.
 *
 * Invariant 1: what the second says of a byte wins; what only the first says stays, unless the second's size cuts it off.
 * Invariant 2: where the image had ended in between and has bytes again, these are zeros, and the merged diff says so: its
 * receiver may have had other bytes there all along, since it never sees the size in between.
 */
import { ClusterError } from '@shoal/base'
import type { DiffRecord } from './diff-record.ts'

export interface DiffHead {
  readonly from: string | undefined
  readonly to: string | undefined
  readonly sizeBytes: number
}

type Extent = Extract<DiffRecord, { readonly kind: 'data' | 'zero' }>

/** A diff whose head was read. */
export interface OpenDiff {
  readonly head: DiffHead
  /** What differs, in order; to be read to the end, where the input's own errors appear. */
  readonly extents: AsyncGenerator<Extent, void, void>
}

/** Reads the head of a diff. EINVAL when it lacks the size. */
export async function openDiff(records: AsyncIterator<DiffRecord>): Promise<OpenDiff> {
  let from: string | undefined
  let to: string | undefined
  let sizeBytes: number | undefined
  let next = await records.next()
  for (; next.done !== true; next = await records.next()) {
    const record = next.value
    if (record.kind === 'from') from = record.snapshot
    else if (record.kind === 'to') to = record.snapshot
    else if (record.kind === 'size') sizeBytes = record.sizeBytes
    else if (record.kind !== 'protected') break
  }
  if (sizeBytes === undefined) throw new ClusterError('EINVAL', 'the diff does not tell the size of the image')
  return { head: { from, to, sizeBytes }, extents: extentsOf(next, records) }
}

async function* extentsOf(
  current: IteratorResult<DiffRecord>,
  records: AsyncIterator<DiffRecord>,
): AsyncGenerator<Extent, void, void> {
  for (let next = current; next.done !== true; next = await records.next()) {
    if (next.value.kind === 'data' || next.value.kind === 'zero') yield next.value
  }
}

const lengthOf = (extent: Extent): number => (extent.kind === 'data' ? extent.data.length : extent.length)
const endOf = (extent: Extent): number => extent.offset + lengthOf(extent)

/** The part of an extent from `start` (in the image) to `end`. */
function cut(extent: Extent, start: number, end: number): Extent {
  if (extent.kind === 'zero') return { kind: 'zero', offset: start, length: end - start }
  return { kind: 'data', offset: start, data: extent.data.subarray(start - extent.offset, end - extent.offset) }
}

/** Extents of which the beginning can be taken off. */
class ExtentCursor {
  private readonly which: string
  private readonly extents: AsyncIterator<Extent>
  private endBytes = 0
  /** The rest of the one that is under the cursor. */
  rest: Extent | undefined

  constructor(which: string, extents: AsyncIterator<Extent>) {
    this.which = which
    this.extents = extents
  }

  async advance(): Promise<void> {
    let next = await this.extents.next()
    while (next.done !== true && lengthOf(next.value) === 0) next = await this.extents.next()
    this.rest = next.done === true ? undefined : next.value
    if (this.rest === undefined) return
    if (this.rest.offset < this.endBytes) {
      throw new ClusterError(
        'EINVAL',
        `the ${this.which} diff goes back from byte ${this.endBytes} of the image to ${this.rest.offset}`,
        { hint: 'only diffs whose records are in order can be merged: import them one after the other' },
      )
    }
    this.endBytes = endOf(this.rest)
  }

  /** Takes what lies before `end`, undefined where nothing does. */
  async takeBefore(end: number): Promise<Extent | undefined> {
    const { rest } = this
    if (rest === undefined || rest.offset >= end) return undefined
    if (endOf(rest) > end) {
      this.rest = cut(rest, end, endOf(rest))
      return cut(rest, rest.offset, end)
    }
    await this.advance()
    return rest
  }
}

/** What lies between the sizes, where the second diff grew the image, is zeros to begin with. */
async function* withGrowth(first: OpenDiff, sizeBytes: number): AsyncGenerator<Extent, void, void> {
  yield* first.extents
  const grownBytes = sizeBytes - first.head.sizeBytes
  if (grownBytes > 0) yield { kind: 'zero', offset: first.head.sizeBytes, length: grownBytes }
}

/** EINVAL when the second does not begin where the first ends, or records are not in order. Holds one record of each. */
export async function* mergeDiffs(first: OpenDiff, second: OpenDiff): AsyncGenerator<DiffRecord, void, void> {
  const { to: middle } = first.head
  if (middle === undefined || middle !== second.head.from) {
    const ends = middle === undefined ? 'with the head of the image' : `with snapshot ${middle}`
    const begins = second.head.from === undefined ? 'with nothing' : `with snapshot ${second.head.from}`
    throw new ClusterError('EINVAL', `the first diff ends ${ends}, the second one begins ${begins}`, {
      hint: 'merge diffs that follow each other',
    })
  }
  const { sizeBytes } = second.head
  if (first.head.from !== undefined) yield { kind: 'from', snapshot: first.head.from }
  if (second.head.to !== undefined) yield { kind: 'to', snapshot: second.head.to }
  yield { kind: 'size', sizeBytes }
  const older = new ExtentCursor('first', withGrowth(first, sizeBytes))
  const newer = new ExtentCursor('second', second.extents)
  await older.advance()
  await newer.advance()
  for (;;) {
    const before = await older.takeBefore(Math.min(newer.rest?.offset ?? sizeBytes, sizeBytes))
    if (before !== undefined) {
      yield before
      continue
    }
    if (newer.rest === undefined) break
    const extent = newer.rest
    await newer.advance()
    yield extent
    while ((await older.takeBefore(endOf(extent))) !== undefined);
  }
  // A damaged end of the first is told, though its bytes are cut off.
  while (older.rest !== undefined) await older.advance()
  yield { kind: 'end' }
}
