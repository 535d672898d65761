import { ClusterError } from '@shoal/base'
import type { BlockDevice, DeviceExtent, DirtyExtent, ExportSource } from '@shoal/gateway-nbd'

const extentBytes = 4096

/** A disk in memory that knows which of its 4 KiB blocks are holes. */
export class MemoryDevice implements BlockDevice {
  readonly description = 'a disk in memory'
  readonly preferredBlockBytes = extentBytes
  readonly readOnly: boolean
  readonly bytes: Uint8Array
  readonly allocated: Uint8Array
  flushes = 0
  /** Those that have begun. */
  reads = 0
  private readonly snapshots = new Map<string, Uint8Array>()
  private gate: Promise<void> = Promise.resolve()
  private onBegun: () => void = () => undefined
  /** When set, every request fails with it. */
  failure: Error | undefined

  constructor(sizeBytes: number, readOnly = false) {
    this.bytes = new Uint8Array(sizeBytes)
    this.allocated = new Uint8Array(Math.ceil(sizeBytes / extentBytes))
    this.readOnly = readOnly
  }

  takeSnapshot(name: string): void {
    this.snapshots.set(name, this.bytes.slice())
  }

  get snapshotNames(): readonly string[] {
    return [...this.snapshots.keys()]
  }

  /** Whatever reads or writes waits from now on, until they are released. `begun`: the first has come. */
  hold(): { readonly begun: Promise<void>; readonly release: () => void } {
    let release: () => void = () => undefined
    this.gate = new Promise((resolve) => {
      release = resolve
    })
    const begun = new Promise<void>((resolve) => {
      this.onBegun = resolve
    })
    return { begun, release: () => release() }
  }

  get sizeBytes(): number {
    return this.bytes.length
  }

  async read(offset: number, length: number): ReturnType<BlockDevice['read']> {
    this.reads++
    await this.pass()
    let at = offset
    return this.mapped(offset, length).map((extent) => {
      at += extent.length
      return extent.allocated
        ? { kind: 'data', data: this.bytes.slice(at - extent.length, at) }
        : { kind: 'hole', length: extent.length }
    })
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.pass()
    this.bytes.set(data, offset)
    this.allocated.fill(1, Math.floor(offset / extentBytes), Math.ceil((offset + data.length) / extentBytes))
  }

  async flush(): Promise<void> {
    this.mayFail()
    this.flushes++
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.pass()
    this.bytes.fill(0, offset, offset + length)
    this.allocated.fill(0, Math.ceil(offset / extentBytes), Math.floor((offset + length) / extentBytes))
  }

  async writeZeroes(offset: number, length: number, punchHole: boolean): Promise<void> {
    if (punchHole) return this.trim(offset, length)
    return this.write(offset, new Uint8Array(length))
  }

  async extents(offset: number, length: number): Promise<readonly DeviceExtent[]> {
    this.mayFail()
    return this.mapped(offset, length)
  }

  async changes(snapshot: string, offset: number, length: number): Promise<readonly DirtyExtent[]> {
    const before = this.snapshots.get(snapshot)
    if (before === undefined) throw new ClusterError('ENOENT', `no snapshot ${snapshot}`)
    const extents: { length: number; readonly dirty: boolean }[] = []
    for (let at = offset; at < offset + length; at += extentBytes) {
      const end = Math.min(offset + length, at + extentBytes)
      const dirty = Buffer.compare(before.subarray(at, end), this.bytes.subarray(at, end)) !== 0
      const last = extents.at(-1)
      if (last?.dirty === dirty) last.length += end - at
      else extents.push({ length: end - at, dirty })
    }
    return extents
  }

  private async pass(): Promise<void> {
    this.onBegun()
    await this.gate
    this.mayFail()
  }

  private mapped(offset: number, length: number): readonly DeviceExtent[] {
    const extents: { length: number; allocated: boolean }[] = []
    for (let at = offset; at < offset + length; ) {
      const block = Math.floor(at / extentBytes)
      const end = Math.min(offset + length, (block + 1) * extentBytes)
      const allocated = this.allocated[block] === 1
      const last = extents.at(-1)
      if (last?.allocated === allocated) last.length += end - at
      else extents.push({ length: end - at, allocated })
      at = end
    }
    return extents
  }

  private mayFail(): void {
    if (this.failure !== undefined) throw this.failure
  }
}

export function memoryExports(devices: Readonly<Record<string, BlockDevice>>): ExportSource {
  return {
    list: async () => Object.entries(devices).map(([name, device]) => ({ name, description: device.description })),
    open: async (name) => {
      const device = devices[name]
      return device === undefined ? undefined : { name, device, close: async () => undefined }
    },
    snapshots: async (name) => {
      const device = devices[name]
      return device instanceof MemoryDevice ? device.snapshotNames : device === undefined ? undefined : []
    },
  }
}
