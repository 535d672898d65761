/**
 * One object, changed in place, step by step: a second telling of what compound operations do, as naive as possible, to
 * hold the model of the checker against. Optionally wrong in one of the ways in which a cluster can be wrong.
 */
import { compareBytes, type Epoch } from '@shoal/base'
import { compareHolds, isWriteOp, type ObjectOp, type ObjectOpResult } from '@shoal/wire'
import type { HistoryOutcome } from '../../src/index.ts'

export interface Contents {
  exists: boolean
  /** Replaced, never changed. */
  data: Uint8Array
  xattrs: Map<string, Uint8Array>
  omap: Map<string, Uint8Array>
  header: Uint8Array
  version: number
}

const fresh = (version: number): Contents => ({
  exists: false,
  data: new Uint8Array(0),
  xattrs: new Map(),
  omap: new Map(),
  header: new Uint8Array(0),
  version,
})

export class PlainObject {
  contents: Contents = fresh(0)
  /** As versions of a PG that has other objects, too. */
  private clock = 0

  apply(ops: readonly ObjectOp[]): HistoryOutcome {
    const before = copyOf(this.contents)
    const writes = ops.some(isWriteOp)
    const existedOrDoes = (): boolean => before.exists || this.contents.exists
    const results: ObjectOpResult[] = []
    for (const op of ops) {
      const result = isWriteOp(op) ? this.write(op) : this.look(op)
      if (typeof result === 'string') {
        this.contents = before
        return { kind: 'failed', code: result }
      }
      results.push(result)
    }
    let version = 0
    if (writes && existedOrDoes()) {
      this.clock += 1 + (this.clock % 3)
      version = this.clock
      this.contents.version = version
    }
    return { kind: 'ok', value: { results, version: { epoch: 1 as Epoch, version } } }
  }

  private write(op: ObjectOp): ObjectOpResult | string {
    const { contents: at } = this
    const none: ObjectOpResult = { kind: 'none' }
    switch (op.kind) {
      case 'create':
        if (op.exclusive && at.exists) return 'EEXIST'
        break
      case 'write':
        this.put(op.offset, op.data)
        break
      case 'append':
        this.put(at.data.length, op.data)
        break
      case 'write-full':
        at.data = op.data
        break
      case 'truncate':
        at.data = resized(at.data, op.sizeBytes)
        break
      case 'zero':
        at.data = at.data.slice().fill(0, op.offset, op.offset + op.length)
        return none
      case 'remove':
        if (!at.exists) return 'ENOENT'
        this.contents = fresh(at.version)
        return none
      case 'set-xattr':
        at.xattrs.set(op.name, op.value)
        break
      case 'remove-xattr':
        if (!at.exists) return 'ENOENT'
        if (!at.xattrs.delete(op.name)) return 'ENODATA'
        break
      case 'omap-set':
        for (const { key, value } of op.entries) at.omap.set(text(key), value)
        break
      case 'omap-remove':
        if (!at.exists) return 'ENOENT'
        for (const key of op.keys) at.omap.delete(text(key))
        break
      case 'omap-clear':
        if (!at.exists) return 'ENOENT'
        at.omap.clear()
        at.header = new Uint8Array(0)
        break
      case 'omap-set-header':
        at.header = op.header
        break
      default:
        throw new Error(op.kind)
    }
    at.exists = true
    return none
  }

  private put(offset: number, data: Uint8Array): void {
    if (data.length === 0) return
    const bytes = resized(this.contents.data, Math.max(this.contents.data.length, offset + data.length))
    bytes.set(data, offset)
    this.contents.data = bytes
  }

  private look(op: ObjectOp): ObjectOpResult | string {
    const { contents: at } = this
    const none: ObjectOpResult = { kind: 'none' }
    switch (op.kind) {
      case 'compare-xattr':
        return compareHolds(at.xattrs.get(op.name) ?? new Uint8Array(0), op.mode, op.value) ? none : 'ECANCELED'
      case 'compare-omap':
        return compareHolds(at.omap.get(text(op.key)) ?? new Uint8Array(0), op.mode, op.value) ? none : 'ECANCELED'
      case 'compare-extent':
        return op.data.every((byte, i) => (at.data[op.offset + i] ?? 0) === byte) ? none : 'ECANCELED'
      default:
        return at.exists ? this.lookAtExisting(op) : 'ENOENT'
    }
  }

  private lookAtExisting(op: ObjectOp): ObjectOpResult | string {
    const { contents: at } = this
    switch (op.kind) {
      case 'assert-exists':
        return { kind: 'none' }
      case 'assert-version':
        return op.version === at.version ? { kind: 'none' } : 'ERANGE'
      case 'read':
        return { kind: 'data', data: at.data.slice(op.offset, op.offset + op.length) }
      case 'sparse-read': {
        const data = at.data.slice(op.offset, op.offset + op.length)
        const extents = data.length === 0 ? [] : [{ offset: op.offset, length: data.length }]
        return { kind: 'extents', extents, data }
      }
      case 'stat':
        return { kind: 'stat', sizeBytes: at.data.length, modifiedMs: 0, version: at.version }
      case 'get-xattr': {
        const data = at.xattrs.get(op.name)
        return data === undefined ? 'ENODATA' : { kind: 'data', data }
      }
      case 'get-xattrs':
        return { kind: 'xattrs', xattrs: new Map(at.xattrs) }
      case 'omap-get-header':
        return { kind: 'data', data: at.header }
      case 'omap-get-keys':
      case 'omap-get-range':
        return this.lookAtOmap(op)
      default:
        throw new Error(op.kind)
    }
  }

  private lookAtOmap(op: Extract<ObjectOp, { kind: 'omap-get-keys' | 'omap-get-range' }>): ObjectOpResult {
    const entries = [...this.contents.omap]
      .map(([key, value]) => ({ key: new Uint8Array(Buffer.from(key, 'latin1')), value }))
      .sort((a, b) => compareBytes(a.key, b.key))
    if (op.kind === 'omap-get-keys') {
      const wanted = op.keys.map(text)
      return { kind: 'omap', entries: entries.filter(({ key }) => wanted.includes(text(key))), more: false }
    }
    const rest = entries.filter(
      ({ key }) => text(key).startsWith(text(op.prefix)) && (op.after === undefined || compareBytes(key, op.after) > 0),
    )
    return { kind: 'omap', entries: rest.slice(0, op.limit), more: rest.length > op.limit }
  }
}

export function copyOf(contents: Contents): Contents {
  return { ...contents, xattrs: new Map(contents.xattrs), omap: new Map(contents.omap) }
}

function resized(data: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  bytes.set(data.subarray(0, length))
  return bytes
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}
