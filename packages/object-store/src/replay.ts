/** Brings the records of the ring back into memory, in order, and on into `level`: mount goes on from there. */

import { Execution } from './execution.ts'
import { type BlocksItem, unitOfRun } from './journal-record.ts'
import { blockBytes } from './layout.ts'
import { Loaded, NeedLoad } from './loaded.ts'
import type { MetaStore } from './meta-store.ts'
import type { PendingData } from './pending-data.ts'
import type { RingRecord } from './ring-reader.ts'

/** Applies the items of a record to the collections that `level` does not have them of. */
export async function replayRecord(record: RingRecord, meta: MetaStore, pending: PendingData): Promise<void> {
  const loaded = new Loaded()
  for (;;) {
    const execution = new Execution(record.sequence, meta, undefined, loaded)
    const images: { readonly unit: number; readonly data: Uint8Array }[] = []
    try {
      let at = 0
      for (const [index, item] of record.items.entries()) {
        const applied = meta.collections.get(item.collection)?.applied ?? -1
        const wanted = applied < record.sequence
        if (item.kind === 'blocks') {
          at = takeImages(item, record.payload, at, wanted ? images : undefined)
          if (wanted) execution.applyBlocks(item, index)
        } else if (wanted) {
          execution.apply(item, index)
        }
      }
    } catch (error) {
      execution.rollback()
      if (!(error instanceof NeedLoad)) throw error
      await error.load()
      continue
    }
    for (const { unit, data } of images) pending.addImage(unit, data, record.sequence)
    return
  }
}

function takeImages(
  item: BlocksItem,
  payload: Uint8Array,
  from: number,
  images: { readonly unit: number; readonly data: Uint8Array }[] | undefined,
): number {
  let at = from
  for (const run of item.runs) {
    if (!run.inline) continue
    for (let i = 0; i < run.checksums.length; i++) {
      images?.push({ unit: unitOfRun(run, i), data: payload.subarray(at, at + blockBytes) })
      at += blockBytes
    }
  }
  return at
}
