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
import type { ObjectExaminer, ObjectStore } from '@shoal/object-store'
import type { OmapEntry, TransactionOp } from '@shoal/wire'
import { metaCollection, setUuid } from './superblock.ts'

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

function setMap(epoch: Epoch, stored: StoredMap): TransactionOp {
  const entries = [{ key: mapKey(epoch), value: encode(storedMapCodec, stored) }]
  return { kind: 'meta-set', collection: metaCollection, entries }
}

const afterAllMaps = utf8Encode('map/')

export class MapStore {
  private readonly store: ObjectStore & ObjectExaminer
  private readonly keepEpochs: () => number
  private readonly log: Log
  private newest: OsdMap | undefined
  /** Epochs of stored full maps, oldest first. */
  private fullEpochs: number[] = []

  constructor(store: ObjectStore & ObjectExaminer, keepEpochs: () => number, log: Log) {
    this.store = store
    this.keepEpochs = keepEpochs
    this.log = log
  }

  /** Reads what is stored. Maps from `from` on go to the visitor, oldest first; the newest is returned. */
  async load(from: Epoch, visit: (map: OsdMap) => Promise<void>): Promise<OsdMap | undefined> {
    let at = mapKey(0)
    for (;;) {
      const page = await this.store.readableEntries(metaCollection, at, afterAllMaps, pageEntries)
      for (const entry of page.entries) if (this.adopt(entry)) await this.show(from, visit)
      if (page.damaged.length > 0) await this.dropDamaged(page.damaged)
      if (!page.more || page.last === undefined) return this.newest
      at = new Uint8Array([...page.last, 0])
    }
  }

  /** Maps that fail their checksum are asked of the monitors again, like those of before this OSD was. */
  private async dropDamaged(keys: readonly Uint8Array[]): Promise<void> {
    this.log.error('stored maps are damaged: there is a gap', { maps: keys.length })
    await this.store.submit({ ops: [{ kind: 'meta-remove', collection: metaCollection, keys }] })
  }

  /** Looks at all that is stored, and mends what is damaged: maps are dropped, the identity is written again. */
  async scrub(uuid: string): Promise<number> {
    const damaged = await this.store.damagedRecords(metaCollection)
    if (damaged.length === 0) return 0
    const ops: TransactionOp[] = [{ kind: 'meta-remove', collection: metaCollection, keys: damaged }, setUuid(uuid)]
    // Whole again from here on: what follows a gap cannot be read back.
    if (this.newest !== undefined) {
      ops.push(setMap(this.newest.epoch, { kind: 'full', map: this.newest }))
      this.fullEpochs.push(this.newest.epoch)
    }
    await this.store.submit({ ops })
    return damaged.length
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
    const ops: TransactionOp[] = [setMap(map.epoch, stored)]
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

  private async show(from: Epoch, visit: (map: OsdMap) => Promise<void>): Promise<void> {
    if (this.newest !== undefined && this.newest.epoch >= from) await visit(this.newest)
  }

  private adopt(entry: OmapEntry): boolean {
    const stored = decode(storedMapCodec, entry.value)
    if (stored.kind === 'full') {
      this.newest = stored.map
      this.fullEpochs.push(stored.map.epoch)
    } else if (this.newest !== undefined && this.newest.epoch + 1 === stored.incremental.epoch) {
      this.newest = applyIncremental(this.newest, stored.incremental)
    } else {
      this.log.warn('a stored map does not follow the one before it', { epoch: stored.incremental.epoch })
      return false
    }
    return true
  }
}
