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

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return await this.level.get(key)
    } catch (error) {
      throw this.failed('read', error)
    }
  }

  async batch(ops: readonly KeyValueOp[], options: { readonly sync: boolean }): Promise<void> {
    const levelOps = ops.map(
      (op): LevelOp =>
        op.kind === 'put' ? { type: 'put', key: op.key, value: op.value } : { type: 'del', key: op.key },
    )
    // `sync` reaches LevelDB's write options; abstract-level's types leave it to the implementation.
    try {
      await this.level.batch(levelOps, { sync: options.sync } as object)
    } catch (error) {
      throw this.failed('write', error)
    }
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
        for (const row of page) rows.push(row)
      }
    } catch (error) {
      throw this.failed('read', error)
    } finally {
      await iterator.close()
    }
  }

  close(): Promise<void> {
    return this.level.close()
  }

  private failed(what: string, error: unknown): ClusterError {
    const { code, message } = error as { readonly code?: string; readonly message?: string }
    const text = `cannot ${what} ${this.level.location}: ${message ?? String(error)}`
    if (code === 'LEVEL_DATABASE_NOT_OPEN') return new ClusterError('ESHUTDOWN', text, { cause: error })
    const full = /no space left/i.test(message ?? '')
    return new ClusterError(full ? 'ENOSPC' : 'EIO', text, { cause: error, outcome: 'unknown' })
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
