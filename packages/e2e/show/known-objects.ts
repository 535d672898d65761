/** Objects of a pool whose sha256 is known: written by a client in this process, and compared later. */
import { randomBytes, randomInt } from 'node:crypto'
import { CommandContext } from '../../cli/src/context.ts'
import type { PoolHandle } from '../../client/src/index.ts'
import { sha, type TestCluster } from '../test/support/cluster.ts'

const mebibyte = 1024 * 1024
const workers = 4
const timeoutSeconds = 120

/** 0 B to 3 MiB: every size class comes, and both ends. */
function sizeOf(index: number): number {
  const classes = [0, randomInt(1, 4_096), 4_096, randomInt(4_096, 65_536), randomInt(65_536, mebibyte), 3 * mebibyte]
  return classes[index % classes.length] as number
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items]
  const one = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: workers }, one))
}

export class KnownObjects {
  readonly hashes = new Map<string, string>()
  private readonly cluster: TestCluster
  private readonly poolName: string
  private context: CommandContext
  private written = 0

  constructor(cluster: TestCluster, poolName = 'objects') {
    this.cluster = cluster
    this.poolName = poolName
    this.context = this.connect()
  }

  private connect(): CommandContext {
    return new CommandContext({ data: this.cluster.directory, format: 'json', timeout: timeoutSeconds })
  }

  async pool(): Promise<PoolHandle> {
    return (await this.context.client()).pool(this.poolName)
  }

  /** After all monitors and OSDs have been away. */
  async reconnect(): Promise<void> {
    await this.close()
    this.context = this.connect()
  }

  close(): Promise<void> {
    return this.context.close()
  }

  /** Only what is acknowledged is known. */
  private async writeOne(pool: PoolHandle): Promise<void> {
    const index = this.written++
    const bytes = randomBytes(sizeOf(index))
    await pool.writeFull(`known-${index}`, bytes)
    this.hashes.set(`known-${index}`, sha(bytes))
  }

  async write(count: number): Promise<void> {
    const pool = await this.pool()
    await inParallel(
      Array.from({ length: count }, (_, i) => i),
      () => this.writeOne(pool),
    )
  }

  /** Writes until `during` ends, and a few more; returns how many writes that were. */
  async writeWhile(during: () => Promise<void>): Promise<number> {
    const before = this.hashes.size
    const pool = await this.pool()
    const over = new AbortController()
    const writers = Array.from({ length: workers }, async () => {
      while (!over.signal.aborted) await this.writeOne(pool)
      await this.writeOne(pool)
    })
    const fault = during().finally(() => {
      over.abort()
    })
    await Promise.all([fault, ...writers])
    return this.hashes.size - before
  }

  /** Reads all; throws with the names of those that differ or cannot be read. Returns how many there are. */
  async check(): Promise<number> {
    const pool = await this.pool()
    const wrong: string[] = []
    await inParallel([...this.hashes], async ([name, hash]) => {
      try {
        const { sizeBytes } = await pool.stat(name)
        if (sha(await pool.read(name, 0, sizeBytes)) !== hash) wrong.push(name)
      } catch (error) {
        wrong.push(`${name} (${String(error)})`)
      }
    })
    if (wrong.length > 0)
      throw new Error(`${wrong.length} objects are not what was acknowledged: ${wrong.slice(0, 5).join(', ')}`)
    return this.hashes.size
  }
}
