/** What the file system below has left for a store: it may be shared, and the data file is sparse. */
import type { Env } from '@shoal/base'
import type { StoreLimits } from './store-options.ts'

export class HostSpace {
  private readonly env: Env
  private readonly directory: string
  private readonly limits: Pick<StoreLimits, 'hostReserveBytes' | 'hostCheckBlocks'>
  private full = false
  private room = Number.POSITIVE_INFINITY
  private allocatedBlocks = 0

  constructor(env: Env, directory: string, limits: Pick<StoreLimits, 'hostReserveBytes' | 'hostCheckBlocks'>) {
    this.env = env
    this.directory = directory
    this.limits = limits
  }

  /** Nothing may be allocated. */
  get isFull(): boolean {
    return this.full
  }

  /** What was left when it was asked last, beyond the reserve. */
  get roomBytes(): number {
    return this.room
  }

  /** True when so much was allocated since that it should be asked again. */
  onAllocated(blocks: number): boolean {
    this.allocatedBlocks += blocks
    if (this.allocatedBlocks < this.limits.hostCheckBlocks) return false
    this.allocatedBlocks = 0
    return true
  }

  async check(): Promise<void> {
    const { freeBytes } = await this.env.disk.space(this.directory)
    this.room = Math.max(0, freeBytes - this.limits.hostReserveBytes)
    const full = freeBytes < this.limits.hostReserveBytes
    if (full && !this.full) this.env.log.error('the file system of the object store is full', { freeBytes })
    this.full = full
  }
}
