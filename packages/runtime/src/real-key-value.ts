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

/**
 * `batch` of the library checks and copies each operation several times over, which takes ten times as long as LevelDB
 * does. What we hand over are bytes already, so it goes to the implementation's own method, as `batch` would in the end.
 */
class ByteLevel extends Level<Uint8Array, Uint8Array> {
  declare _batch: (ops: readonly LevelOp[], options: { readonly sync: boolean }) => Promise<void>

  async writeBatch(ops: readonly LevelOp[], sync: boolean): Promise<void> {
    if (this.status !== 'open') {
      throw Object.assign(new Error('the store is not open'), { code: 'LEVEL_DATABASE_NOT_OPEN' })
    }
    if (ops.length > 0) await this._batch(ops, { sync })
  }
}

class LevelStore implements KeyValueStore {
  private readonly level: ByteLevel

  constructor(level: ByteLevel) {
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
    try {
      await this.level.writeBatch(levelOps, options.sync)
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
    const level = new ByteLevel(path, {
      ...encodings,
      cacheSize: cacheBytes,
      writeBufferSize: writeBufferBytes,
      // Checksums, block maps and ciphers do not get smaller; and damage stays with the record that it hits, where it is
      // found by that record's own checksum, instead of taking all that was packed together with it.
      compression: false,
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
