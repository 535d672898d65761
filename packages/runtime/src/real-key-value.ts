/** Ordered stores over LevelDB. */
import { ClusterError, type KeyRange, type KeyValueOp, type KeyValueStore, type KeyValueStores } from '@shoal/base'
import { Level } from 'level'

const encodings = { keyEncoding: 'view', valueEncoding: 'view' } as const
/** Enough for hot metadata; the daemons keep caches of their own. */
const cacheBytes = 8 * 1024 * 1024
const writeBufferBytes = 4 * 1024 * 1024

type LevelOp =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

class LevelStore implements KeyValueStore {
  private readonly level: Level<Uint8Array, Uint8Array>

  constructor(level: Level<Uint8Array, Uint8Array>) {
    this.level = level
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.level.get(key)
  }

  batch(ops: readonly KeyValueOp[], options: { readonly sync: boolean }): Promise<void> {
    const levelOps = ops.map(
      (op): LevelOp =>
        op.kind === 'put' ? { type: 'put', key: op.key, value: op.value } : { type: 'del', key: op.key },
    )
    // `sync` reaches LevelDB's write options; abstract-level's types leave it to the implementation.
    return this.level.batch(levelOps, { sync: options.sync } as object)
  }

  async entries(range: KeyRange): Promise<readonly (readonly [Uint8Array, Uint8Array])[]> {
    const iterator = this.level.iterator({
      ...(range.from === undefined ? {} : { gte: range.from }),
      ...(range.to === undefined ? {} : { lt: range.to }),
      reverse: range.reverse ?? false,
      limit: range.limit ?? -1,
    })
    try {
      const rows: (readonly [Uint8Array, Uint8Array])[] = []
      for (;;) {
        const page = await iterator.nextv(1000)
        if (page.length === 0) return rows
        rows.push(...page)
      }
    } finally {
      await iterator.close()
    }
  }

  close(): Promise<void> {
    return this.level.close()
  }
}

export const realKeyValueStores: KeyValueStores = {
  async open(path: string): Promise<KeyValueStore> {
    const level = new Level<Uint8Array, Uint8Array>(path, {
      ...encodings,
      cacheSize: cacheBytes,
      writeBufferSize: writeBufferBytes,
    })
    try {
      await level.open()
    } catch (error) {
      const cause = (error as { readonly cause?: { readonly code?: string; readonly message?: string } }).cause
      if (cause?.code === 'LEVEL_LOCKED') {
        throw new ClusterError('EBUSY', `${path} is open in another process`, {
          cause: error,
          hint: 'stop that daemon first: shoal daemon ls',
        })
      }
      throw new ClusterError('EIO', `cannot open the key-value store ${path}: ${cause?.message ?? String(error)}`, {
        cause: error,
      })
    }
    return new LevelStore(level)
  },
}
