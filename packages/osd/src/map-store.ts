/**
 * The OSD maps that this OSD has seen, in its store's meta collection: after a restart its placement groups walk every
 * epoch since the one they last knew, without asking the monitors for history.
 *
 * Keys: `map.` and the epoch as 8 hexadecimal digits (so that they sort); values: an encoded full map, or the incremental
 * from the epoch before. A full map stands first, after every gap and at least every {@link fullMapEvery} epochs.
 *
 * Invariant 1: the oldest stored map is a full one: trimming goes up to a full map.
 */
import {
  assert,
  type ByteReader,
  type ByteWriter,
  type Codec,
  decode,
  type Epoch,
  encode,
  type Log,
  oneOf,
  utf8Encode,
  versioned,
} from '@shoal/base'
import {
  applyIncremental,
  diffOsdMaps,
  type OsdMap,
  type OsdMapIncremental,
  osdMapCodec,
  osdMapIncrementalCodec,
} from '@shoal/cluster-map'
import type { ObjectStore } from '@shoal/object-store'
import type { OmapEntry, TransactionOp } from '@shoal/wire'
import { metaCollection } from './superblock.ts'

export const fullMapEvery = 32
const pageEntries = 64

type StoredMap =
  | { readonly kind: 'full'; readonly map: OsdMap }
  | { readonly kind: 'incremental'; readonly incremental: OsdMapIncremental }

const kindCodec = oneOf(['full', 'incremental'])

const storedMapCodec: Codec<StoredMap> = versioned<StoredMap>(1, 1, 'stored OSD map', {
  write(writer: ByteWriter, stored: StoredMap) {
    kindCodec.write(writer, stored.kind)
    if (stored.kind === 'full') osdMapCodec.write(writer, stored.map)
    else osdMapIncrementalCodec.write(writer, stored.incremental)
  },
  read(reader: ByteReader): StoredMap {
    const kind = kindCodec.read(reader)
    return kind === 'full'
      ? { kind, map: osdMapCodec.read(reader) }
      : { kind, incremental: osdMapIncrementalCodec.read(reader) }
  },
})

function mapKey(epoch: number): Uint8Array {
  return utf8Encode(`map.${epoch.toString(16).padStart(8, '0')}`)
}

const afterAllMaps = utf8Encode('map/')

export class MapStore {
  private readonly store: ObjectStore
  private readonly keepEpochs: () => number
  private readonly log: Log
  private newest: OsdMap | undefined
  /** Epochs of stored full maps, oldest first. */
  private fullEpochs: number[] = []

  constructor(store: ObjectStore, keepEpochs: () => number, log: Log) {
    this.store = store
    this.keepEpochs = keepEpochs
    this.log = log
  }

  /** Reads what is stored. Maps from `from` on go to the visitor, oldest first; the newest is returned. */
  async load(from: Epoch, visit: (map: OsdMap) => void): Promise<OsdMap | undefined> {
    let at = mapKey(0)
    for (;;) {
      const page = await this.store.metaEntries(metaCollection, at, afterAllMaps, pageEntries)
      for (const entry of page.entries) this.adopt(entry, from, visit)
      const last = page.entries.at(-1)
      if (!page.more || last === undefined) return this.newest
      at = new Uint8Array([...last.key, 0])
    }
  }

  /** Epoch of the newest stored map; 0 for none. */
  get newestEpoch(): Epoch {
    return this.newest?.epoch ?? (0 as Epoch)
  }

  /** Stores the next map. Epochs may have gaps but never go back. Failure to store is the store's to end the daemon for. */
  add(map: OsdMap): Promise<void> {
    const before = this.newest
    assert(before === undefined || map.epoch > before.epoch, 'maps are stored in order')
    const lastFull = this.fullEpochs.at(-1) ?? Number.NEGATIVE_INFINITY
    const follows = before !== undefined && map.epoch === before.epoch + 1 && map.fsid === before.fsid
    const stored: StoredMap =
      follows && map.epoch - lastFull < fullMapEvery
        ? { kind: 'incremental', incremental: diffOsdMaps(before, map) }
        : { kind: 'full', map }
    if (stored.kind === 'full') this.fullEpochs.push(map.epoch)
    this.newest = map
    const ops: TransactionOp[] = [
      {
        kind: 'meta-set',
        collection: metaCollection,
        entries: [{ key: mapKey(map.epoch), value: encode(storedMapCodec, stored) }],
      },
    ]
    const trimTo = this.trimTarget(map.epoch)
    if (trimTo !== undefined) {
      ops.push({ kind: 'meta-remove-range', collection: metaCollection, from: mapKey(0), to: mapKey(trimTo) })
    }
    return this.store.submit({ ops })
  }

  /** The newest full map with enough epochs after it; undefined when nothing older is stored. */
  private trimTarget(newest: number): number | undefined {
    let target: number | undefined
    const keepEpochs = this.keepEpochs()
    while (this.fullEpochs.length > 1 && newest - (this.fullEpochs[1] as number) >= keepEpochs) {
      this.fullEpochs.shift()
      target = this.fullEpochs[0]
    }
    return target
  }

  private adopt(entry: OmapEntry, from: Epoch, visit: (map: OsdMap) => void): void {
    const stored = decode(storedMapCodec, entry.value)
    if (stored.kind === 'full') {
      this.newest = stored.map
      this.fullEpochs.push(stored.map.epoch)
    } else if (this.newest !== undefined && this.newest.epoch + 1 === stored.incremental.epoch) {
      this.newest = applyIncremental(this.newest, stored.incremental)
    } else {
      this.log.warn('a stored map does not follow the one before it', { epoch: stored.incremental.epoch })
      return
    }
    if (this.newest.epoch >= from) visit(this.newest)
  }
}
