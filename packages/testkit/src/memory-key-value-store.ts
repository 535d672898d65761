/**
 * An ordered store in memory that loses what a power cut would lose: batches after the last one that was synced, all or
 * a drawn number of them, never a part of one.
 */
import {
  compareBytes,
  hexEncode,
  type KeyRange,
  type KeyValueOp,
  type KeyValueStore,
  type KeyValueStores,
  type Random,
} from '@shoal/base'

interface Entry {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

type Entries = Map<string, Entry>

function applyBatch(entries: Entries, ops: readonly KeyValueOp[]): void {
  for (const op of ops) {
    if (op.kind === 'put') entries.set(hexEncode(op.key), { key: op.key.slice(), value: op.value.slice() })
    else entries.delete(hexEncode(op.key))
  }
}

class MemoryStore implements KeyValueStore {
  private readonly disk: MemoryKeyValueDisk
  private readonly run: number

  constructor(disk: MemoryKeyValueDisk, run: number) {
    this.disk = disk
    this.run = run
  }

  private check(): void {
    if (this.run !== this.disk.run) throw new Error('the machine of this store has lost power')
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.check()
    return this.disk.visible.get(hexEncode(key))?.value
  }

  async batch(ops: readonly KeyValueOp[], options: { readonly sync: boolean }): Promise<void> {
    this.check()
    await this.disk.beforeBatch(options.sync)
    this.check()
    this.disk.write(ops, options.sync)
  }

  async entries(range: KeyRange): Promise<readonly (readonly [Uint8Array, Uint8Array])[]> {
    this.check()
    const { from, to } = range
    const found = [...this.disk.visible.values()]
      .filter(
        ({ key }) =>
          (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0),
      )
      .sort((a, b) => compareBytes(a.key, b.key))
    if (range.reverse === true) found.reverse()
    return found.slice(0, range.limit ?? found.length).map(({ key, value }) => [key, value] as const)
  }

  async close(): Promise<void> {}
}

/** What outlives the process: one directory's store. */
export class MemoryKeyValueDisk {
  visible: Entries = new Map()
  /** Grows with each power cut: stores opened before it are dead. */
  run = 0
  /** Called before each batch; a test may crash or fail here. */
  beforeBatch: (sync: boolean) => Promise<void> = async () => undefined
  private durable: Entries = new Map()
  private unsynced: (readonly KeyValueOp[])[] = []

  write(ops: readonly KeyValueOp[], sync: boolean): void {
    applyBatch(this.visible, ops)
    this.unsynced.push(ops)
    if (!sync) return
    for (const batch of this.unsynced.splice(0)) applyBatch(this.durable, batch)
  }

  /** Keeps a drawn prefix of what was not synced; nothing of it without `random`. */
  powerCut(random?: Random): void {
    this.run++
    const kept = random === undefined ? 0 : random.below(this.unsynced.length + 1)
    for (const batch of this.unsynced.splice(0).slice(0, kept)) applyBatch(this.durable, batch)
    this.visible = new Map(this.durable)
  }
}

/** Stores by path, as a machine has them. */
export class MemoryKeyValueStores implements KeyValueStores {
  private readonly disks = new Map<string, MemoryKeyValueDisk>()

  disk(path: string): MemoryKeyValueDisk {
    let disk = this.disks.get(path)
    if (disk === undefined) {
      disk = new MemoryKeyValueDisk()
      this.disks.set(path, disk)
    }
    return disk
  }

  async open(path: string): Promise<KeyValueStore> {
    const disk = this.disk(path)
    return new MemoryStore(disk, disk.run)
  }

  powerCut(random?: Random): void {
    for (const disk of this.disks.values()) disk.powerCut(random)
  }
}
