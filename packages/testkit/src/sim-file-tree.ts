/**
 * What a simulated disk holds, and what of it a power cut leaves.
 *
 * Invariants
 * 1. A file's durable bytes are those of its last `datasync`, and of what was synced before; a cut draws for each later
 *    write whether it is kept, dropped or torn at sectors of 512 bytes.
 * 2. A directory's durable names are those of its last sync. A cut keeps a drawn prefix of the later changes of each
 *    directory; a rename between two directories happens in both or in neither.
 */
import type { Random } from '@shoal/base'
import type { MemoryKeyValueDisk } from './memory-key-value-store.ts'
import { SparseBytes } from './sparse-bytes.ts'

const sectorBytes = 512

export type FileChange =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly sizeBytes: number }

function apply(content: SparseBytes, change: FileChange): void {
  if (change.kind === 'write') content.write(change.bytes, change.offset)
  else content.truncate(change.sizeBytes)
}

/** Applies all, nothing or some of the sectors of the change. */
function applyDrawn(content: SparseBytes, change: FileChange, random: Random): void {
  const fate = random.below(3)
  if (fate === 0) return
  if (fate === 1 || change.kind === 'truncate') return apply(content, change)
  const { bytes, offset } = change
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(sectorBytes - ((offset + at) % sectorBytes), bytes.length - at)
    if (random.below(2) === 0) content.write(bytes.subarray(at, at + length), offset + at)
    at += length
  }
}

export class FileNode {
  readonly kind = 'file'
  content: SparseBytes = new SparseBytes()
  private durable: SparseBytes = new SparseBytes()
  private unsynced: FileChange[] = []
  /** Asked for, not yet answered. */
  private readonly inFlight = new Set<FileChange>()

  begin(change: FileChange): void {
    this.inFlight.add(change)
  }

  /** `actual` is what reached the medium, if that is not what was asked for. */
  finish(change: FileChange, actual: readonly FileChange[] = [change]): void {
    this.inFlight.delete(change)
    for (const one of actual) {
      apply(this.content, one)
      this.unsynced.push(one)
    }
  }

  fail(change: FileChange): void {
    this.inFlight.delete(change)
  }

  /** What a `datasync` that begins now covers. */
  syncMark(): ReadonlySet<FileChange> {
    return new Set(this.unsynced)
  }

  synced(covered: ReadonlySet<FileChange>): void {
    for (const change of this.unsynced) if (covered.has(change)) apply(this.durable, change)
    this.unsynced = this.unsynced.filter((change) => !covered.has(change))
  }

  /** The process died: each call under way has happened, or has not. */
  kill(random: Random): void {
    for (const change of this.inFlight) {
      if (random.below(2) === 0) this.finish(change)
    }
    this.inFlight.clear()
  }

  powerCut(random: Random): void {
    for (const change of [...this.unsynced, ...this.inFlight]) applyDrawn(this.durable, change, random)
    this.content = this.durable.clone()
    this.unsynced = []
    this.inFlight.clear()
  }

  /** Where the bytes lie that take room, one offset per page. */
  allocatedOffsets(): readonly number[] {
    return this.content.pageOffsets()
  }

  /** Bit rot: below every cache. */
  flip(offset: number, mask: number): void {
    for (const content of [this.content, this.durable]) {
      const byte = new Uint8Array(1)
      if (content.read(byte, offset) === 0) continue
      content.write(new Uint8Array([(byte[0] as number) ^ mask]), offset)
    }
  }
}

interface NameChange {
  readonly directory: DirectoryNode
  readonly name: string
  /** Undefined removes the name. */
  readonly node: TreeNode | undefined
}

export type TreeNode = FileNode | DirectoryNode

function applyName(names: Map<string, TreeNode>, name: string, node: TreeNode | undefined): void {
  if (node === undefined) names.delete(name)
  else names.set(name, node)
}

export class DirectoryNode {
  readonly kind = 'directory'
  names: Map<string, TreeNode> = new Map()
  durableNames: Map<string, TreeNode> = new Map()
  /** The key-value store that lives in this directory. */
  store: MemoryKeyValueDisk | undefined
  /** Changes since the last sync, in order; a change of two directories stands in both. */
  pending: (readonly NameChange[])[] = []

  sync(): void {
    const last = this.pending.at(-1)
    if (last !== undefined) this.commitThrough(last)
  }

  /** Makes the changes up to this one durable, and in other directories what must come with them. */
  private commitThrough(last: readonly NameChange[]): void {
    if (!this.pending.includes(last)) return
    for (;;) {
      const change = this.pending.shift() as readonly NameChange[]
      for (const { directory, name, node } of change) {
        if (directory === this) applyName(this.durableNames, name, node)
        else directory.commitThrough(change)
      }
      if (change === last) return
    }
  }

  keepDrawn(random: Random): void {
    const kept = random.below(this.pending.length + 1)
    const last = this.pending[kept - 1]
    if (last !== undefined) this.commitThrough(last)
  }
}

/** Does all the changes as one step: visible at once, durable with the next sync of a directory concerned. */
export function changeNames(changes: readonly NameChange[]): void {
  for (const { directory, name, node } of changes) applyName(directory.names, name, node)
  for (const directory of new Set(changes.map((change) => change.directory))) directory.pending.push(changes)
}

/** Everything that can be reached by a visible or a durable name, each once. */
export function reachable(root: DirectoryNode): readonly TreeNode[] {
  const found = new Set<TreeNode>([root])
  for (const node of found) {
    if (node.kind !== 'directory') continue
    for (const child of node.names.values()) found.add(child)
    for (const child of node.durableNames.values()) found.add(child)
    // A file renamed twice since the last sync may come back by a name in between.
    for (const change of node.pending) for (const { node: child } of change) if (child !== undefined) found.add(child)
  }
  return [...found]
}
