/**
 * An ordered store in memory that loses what a power cut would lose: batches after the last one that was synced, all or
 * a drawn number of them, never a part of one.
 */
import {
  compareBytes,
  equalBytes,
  type KeyRange,
  type KeyValueOp,
  type KeyValueStore,
  type KeyValueStores,
  type Random,
} from '@shoal/base'

type Row = readonly [key: Uint8Array, value: Uint8Array]

/** Rows in key order. */
class SortedRows {
  private rows: Row[]

  constructor(rows: readonly Row[] = []) {
    this.rows = [...rows]
  }

  clone(): SortedRows {
    return new SortedRows(this.rows)
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const row = this.rows[this.lowerBound(key)]
    return row !== undefined && equalBytes(row[0], key) ? row[1] : undefined
  }

  apply(ops: readonly KeyValueOp[]): void {
    for (const op of ops) {
      const at = this.lowerBound(op.key)
      const row = this.rows[at]
      const found = row !== undefined && equalBytes(row[0], op.key) ? 1 : 0
      if (op.kind === 'put') this.rows.splice(at, found, [op.key, op.value])
      else this.rows.splice(at, found)
    }
  }

  /** Flips bits of a stored value; false when there is no such key. */
  flip(key: Uint8Array, offset: number, mask: number): boolean {
    const at = this.lowerBound(key)
    const row = this.rows[at]
    if (row === undefined || !equalBytes(row[0], key) || offset >= row[1].length) return false
    const value = row[1].slice()
    value[offset] = (value[offset] as number) ^ mask
    this.rows[at] = [row[0], value]
    return true
  }

  range({ from, to, reverse, limit }: KeyRange): readonly Row[] {
    const start = from === undefined ? 0 : this.lowerBound(from)
    const end = to === undefined ? this.rows.length : this.lowerBound(to)
    const count = Math.max(0, Math.min(limit ?? end - start, end - start))
    if (reverse === true) return this.rows.slice(end - count, end).reverse()
    return this.rows.slice(start, start + count)
  }

  /** Where the first key stands that is not below this one. */
  private lowerBound(key: Uint8Array): number {
    let low = 0
    let high = this.rows.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareBytes((this.rows[middle] as Row)[0], key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

function copyOp(op: KeyValueOp): KeyValueOp {
  return op.kind === 'put'
    ? { kind: 'put', key: op.key.slice(), value: op.value.slice() }
    : { kind: 'delete', key: op.key.slice() }
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
    return this.disk.get(key)
  }

  async batch(ops: readonly KeyValueOp[], options: { readonly sync: boolean }): Promise<void> {
    this.check()
    await this.disk.beforeBatch(options.sync)
    this.check()
    this.disk.write(ops, options.sync)
  }

  async entries(range: KeyRange): Promise<readonly (readonly [Uint8Array, Uint8Array])[]> {
    this.check()
    return this.disk.entries(range)
  }

  async close(): Promise<void> {}
}

/** What outlives the process: one directory's store. */
export class MemoryKeyValueDisk {
  /** Grows with each power cut: stores opened before it are dead. */
  run = 0
  /** Called before each batch; a test may crash or fail here. */
  beforeBatch: (sync: boolean) => Promise<void> = async () => undefined
  private visible = new SortedRows()
  private durable = new SortedRows()
  private unsynced: (readonly KeyValueOp[])[] = []

  open(): KeyValueStore {
    return new MemoryStore(this, this.run)
  }

  /** The caller owns what it gets, as it does with a real store. */
  get(key: Uint8Array): Uint8Array | undefined {
    return this.visible.get(key)?.slice()
  }

  entries(range: KeyRange): readonly (readonly [Uint8Array, Uint8Array])[] {
    return this.visible.range(range).map(([key, value]) => [key.slice(), value.slice()] as const)
  }

  write(ops: readonly KeyValueOp[], sync: boolean): void {
    const copied = ops.map(copyOp)
    this.visible.apply(copied)
    this.unsynced.push(copied)
    if (!sync) return
    for (const batch of this.unsynced.splice(0)) this.durable.apply(batch)
  }

  /** The medium decays: bits of the value of this key change, in what is stored and in what is read. */
  flip(key: Uint8Array, offset: number, mask: number): boolean {
    this.durable.flip(key, offset, mask)
    return this.visible.flip(key, offset, mask)
  }

  /** Keeps a drawn prefix of what was not synced; nothing of it without `random`. */
  powerCut(random?: Random): void {
    this.run++
    const kept = random === undefined ? 0 : random.below(this.unsynced.length + 1)
    for (const batch of this.unsynced.splice(0).slice(0, kept)) this.durable.apply(batch)
    this.visible = this.durable.clone()
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
    return this.disk(path).open()
  }

  powerCut(random?: Random): void {
    for (const disk of this.disks.values()) disk.powerCut(random)
  }
}
