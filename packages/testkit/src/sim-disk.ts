/**
 * A disk in memory that behaves as badly as the contract of {@link Disk} allows. {@link SimDiskImage} is the medium: it
 * outlives processes; {@link SimDisk} is the view of one life of one process.
 */
import {
  assert,
  ClusterError,
  type Disk,
  type FileHandle,
  type FileWrite,
  type OpenMode,
  type Random,
} from '@shoal/base'
import { MemoryKeyValueDisk } from './memory-key-value-store.ts'
import { changeNames, DirectoryNode, type FileChange, FileNode, reachable, type TreeNode } from './sim-file-tree.ts'

export type { FileChange } from './sim-file-tree.ts'

export interface IoOperation {
  readonly kind:
    | 'open'
    | 'read'
    | 'write'
    | 'datasync'
    | 'truncate'
    | 'make-directory'
    | 'rename'
    | 'remove'
    | 'sync-directory'
    | 'key-value-batch'
  readonly path: string
  readonly bytes: number
}

/** Operations that change the medium: a crash test crashes at each of them in turn. */
export function isCrashPoint(operation: IoOperation): boolean {
  return operation.kind !== 'read' && operation.kind !== 'open'
}

/** How a process's operations pass through its machine. */
export interface IoGate {
  /**
   * Resolves when the machine has done the operation; rejects with an injected error; never settles when the process
   * died before.
   */
  pass(operation: IoOperation): Promise<void>
}

function parts(path: string): readonly string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.')
}

export class SimDiskImage {
  capacityBytes: number = 2 ** 40
  /** What a lying medium makes of a write that it acknowledges: other writes, or none. */
  mangle: ((path: string, change: FileChange) => readonly FileChange[]) | undefined
  private readonly root = new DirectoryNode()
  private readonly locked = new Set<TreeNode>()

  /** Undefined when there is no such name. */
  find(path: string): TreeNode | undefined {
    let node: TreeNode | undefined = this.root
    for (const part of parts(path)) node = node?.kind === 'directory' ? node.names.get(part) : undefined
    return node
  }

  /** The directory that holds the path's last part. Throws ENOENT. */
  parent(path: string): { readonly directory: DirectoryNode; readonly name: string } {
    const names = parts(path)
    const name = names.at(-1)
    const directory = this.find(names.slice(0, -1).join('/'))
    if (name === undefined || directory?.kind !== 'directory')
      throw new ClusterError('ENOENT', `${path}: no such directory`)
    return { directory, name }
  }

  /** Makes the directories of the path that are missing; gives the last one. Throws EEXIST when a file is in the way. */
  makeDirectories(path: string): DirectoryNode {
    let directory = this.root
    for (const name of parts(path)) {
      let node = directory.names.get(name)
      if (node?.kind === 'file') throw new ClusterError('EEXIST', `${path}: ${name} is a file`)
      if (node === undefined) {
        node = new DirectoryNode()
        changeNames([{ directory, name, node }])
      }
      directory = node
    }
    return directory
  }

  /** The key-value store in this directory, which is made, durably, when it is missing. */
  store(path: string): MemoryKeyValueDisk {
    const directory = this.makeDirectories(path)
    const names = parts(path)
    for (let depth = 0; depth < names.length; depth++) this.makeDirectories(names.slice(0, depth).join('/')).sync()
    directory.store ??= new MemoryKeyValueDisk()
    return directory.store
  }

  get usedBytes(): number {
    let used = 0
    for (const node of reachable(this.root)) if (node.kind === 'file') used += node.content.allocatedBytes
    return used
  }

  tryLock(node: TreeNode): boolean {
    if (this.locked.has(node)) return false
    this.locked.add(node)
    return true
  }

  unlock(node: TreeNode): void {
    this.locked.delete(node)
  }

  /** The process is gone, the machine is not: what it wrote is there, calls under way may or may not have happened. */
  kill(random: Random): void {
    this.locked.clear()
    for (const node of reachable(this.root)) if (node.kind === 'file') node.kill(random)
  }

  powerCut(random: Random): void {
    this.locked.clear()
    const nodes = reachable(this.root)
    for (const node of nodes) {
      if (node.kind === 'file') node.powerCut(random)
      else node.keepDrawn(random)
      if (node.kind === 'directory') node.store?.powerCut(random)
    }
    for (const node of nodes) {
      if (node.kind !== 'directory') continue
      node.names = new Map(node.durableNames)
      node.pending = []
    }
  }

  /** Flips bits of one byte of a file, as a decaying medium does. */
  flip(path: string, offset: number, mask = 1): void {
    const node = this.find(path)
    assert(node?.kind === 'file', `${path} is a file`)
    node.flip(offset, mask)
  }
}

class SimFile implements FileHandle {
  private readonly node: FileNode
  private readonly path: string
  private readonly image: SimDiskImage
  private readonly gate: IoGate
  private readonly writable: boolean
  private closed = false

  constructor(node: FileNode, path: string, disk: { image: SimDiskImage; gate: IoGate; writable: boolean }) {
    this.node = node
    this.path = path
    this.image = disk.image
    this.gate = disk.gate
    this.writable = disk.writable
  }

  async read(buffer: Uint8Array, offset: number): Promise<number> {
    this.check()
    await this.gate.pass({ kind: 'read', path: this.path, bytes: buffer.length })
    return this.node.content.read(buffer, offset)
  }

  async write(chunks: readonly Uint8Array[], offset: number): Promise<void> {
    this.check()
    const changes: FileChange[] = []
    let at = offset
    for (const chunk of chunks) {
      changes.push({ kind: 'write', offset: at, bytes: chunk.slice() })
      at += chunk.length
    }
    // Overwriting needs no room; what grows a full disk fails whole.
    if (at > this.node.content.sizeBytes && this.image.usedBytes + (at - offset) > this.image.capacityBytes) {
      throw new ClusterError('ENOSPC', `${this.path}: the disk is full`)
    }
    await this.change('write', changes, at - offset)
  }

  async writeDurable(chunks: readonly Uint8Array[], offset: number): Promise<void> {
    await this.write(chunks, offset)
    await this.datasync()
  }

  async writeMany(writes: readonly FileWrite[]): Promise<void> {
    await Promise.all(writes.map(({ chunks, offset }) => this.write(chunks, offset)))
  }

  async datasync(): Promise<void> {
    this.check()
    const covered = this.node.syncMark()
    await this.gate.pass({ kind: 'datasync', path: this.path, bytes: 0 })
    this.node.synced(covered)
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.check()
    await this.change('truncate', [{ kind: 'truncate', sizeBytes }], 0)
  }

  async sizeBytes(): Promise<number> {
    this.check()
    return this.node.content.sizeBytes
  }

  async close(): Promise<void> {
    this.check()
    this.closed = true
  }

  private async change(kind: 'write' | 'truncate', changes: readonly FileChange[], bytes: number): Promise<void> {
    if (!this.writable) throw new ClusterError('EPERM', `${this.path} is open for reading only`)
    for (const change of changes) this.node.begin(change)
    try {
      await this.gate.pass({ kind, path: this.path, bytes })
    } catch (error) {
      for (const change of changes) this.node.fail(change)
      throw error
    }
    const { mangle } = this.image
    for (const change of changes) this.node.finish(change, mangle === undefined ? [change] : mangle(this.path, change))
  }

  private check(): void {
    assert(!this.closed, `${this.path} is open`)
  }
}

export class SimDisk implements Disk {
  private readonly image: SimDiskImage
  private readonly gate: IoGate

  constructor(image: SimDiskImage, gate: IoGate) {
    this.image = image
    this.gate = gate
  }

  async open(path: string, mode: OpenMode): Promise<FileHandle> {
    await this.gate.pass({ kind: 'open', path, bytes: 0 })
    let node = this.image.find(path)
    if (node === undefined && mode === 'create') {
      const { directory, name } = this.image.parent(path)
      node = new FileNode()
      changeNames([{ directory, name, node }])
    }
    if (node === undefined) throw new ClusterError('ENOENT', `${path}: no such file`)
    if (node.kind !== 'file') throw new ClusterError('EIO', `${path} is a directory`)
    return new SimFile(node, path, { image: this.image, gate: this.gate, writable: mode !== 'read' })
  }

  async makeDirectory(path: string): Promise<void> {
    await this.gate.pass({ kind: 'make-directory', path, bytes: 0 })
    this.image.makeDirectories(path)
  }

  async list(path: string): Promise<readonly string[]> {
    await this.gate.pass({ kind: 'read', path, bytes: 0 })
    return [...this.directory(path).names.keys()].sort()
  }

  async exists(path: string): Promise<boolean> {
    await this.gate.pass({ kind: 'read', path, bytes: 0 })
    return this.image.find(path) !== undefined
  }

  async remove(path: string): Promise<void> {
    await this.gate.pass({ kind: 'remove', path, bytes: 0 })
    if (this.image.find(path) === undefined) return
    const { directory, name } = this.image.parent(path)
    changeNames([{ directory, name, node: undefined }])
  }

  async rename(from: string, to: string): Promise<void> {
    await this.gate.pass({ kind: 'rename', path: from, bytes: 0 })
    const node = this.image.find(from)
    if (node === undefined) throw new ClusterError('ENOENT', `${from}: no such file`)
    const source = this.image.parent(from)
    const target = this.image.parent(to)
    changeNames([
      { ...source, node: undefined },
      { ...target, node },
    ])
  }

  async syncDirectory(path: string): Promise<void> {
    await this.gate.pass({ kind: 'sync-directory', path, bytes: 0 })
    this.directory(path).sync()
  }

  async readFile(path: string): Promise<Uint8Array> {
    const file = await this.open(path, 'read')
    const content = new Uint8Array(await file.sizeBytes())
    await file.read(content, 0)
    return content
  }

  async writeFileAtomic(path: string, content: Uint8Array): Promise<void> {
    const temporary = `${path}.new`
    const file = await this.open(temporary, 'create')
    await file.truncate(0)
    await file.write([content], 0)
    await file.datasync()
    await file.close()
    await this.rename(temporary, path)
    await this.syncDirectory(parts(path).slice(0, -1).join('/'))
  }

  async space(path: string): Promise<{ readonly totalBytes: number; readonly freeBytes: number }> {
    await this.gate.pass({ kind: 'read', path, bytes: 0 })
    const { capacityBytes, usedBytes } = this.image
    return { totalBytes: capacityBytes, freeBytes: Math.max(0, capacityBytes - usedBytes) }
  }

  async lock(path: string): Promise<{ release(): Promise<void> }> {
    await this.gate.pass({ kind: 'open', path, bytes: 0 })
    const node = this.image.find(path)
    if (node === undefined) throw new ClusterError('ENOENT', `${path}: no such directory`)
    if (!this.image.tryLock(node)) throw new ClusterError('EBUSY', `${path} is in use by another process`)
    return {
      release: async () => {
        this.image.unlock(node)
      },
    }
  }

  private directory(path: string): DirectoryNode {
    const node = this.image.find(path)
    if (node?.kind !== 'directory') throw new ClusterError('ENOENT', `${path}: no such directory`)
    return node
  }
}
