/**
 * An ordered key-value store in sealed pages of another one: what `level` sees is numbers and ciphertext. A B+ tree whose
 * pages are never changed, only replaced: a batch writes every page on the way to what it changes under a new number,
 * removes the old ones, and names the new root, all in one batch of the store below.
 *
 * Invariants
 * 1. The batch below is atomic, so there is always one whole tree, that of the last batch that was kept.
 * 2. A page number is never used twice, so that what a cache holds under a number is never out of date; the next number is
 *    in the root record.
 * 3. A reader works on the root that it began with. When a page of that is gone, a batch replaced it meanwhile: the reader
 *    begins again with the new root, which it may have to wait for until that batch is over.
 * 4. An inner page has at least two children where there are two to be had, however long their keys are: with each level
 *    there are at most half as many pages, so that there is always a root.
 */
import {
  assert,
  ByteReader,
  ByteWriter,
  ClusterError,
  compareBytes,
  equalBytes,
  isClusterError,
  type KeyRange,
  type KeyValueOp,
  type KeyValueStore,
} from '@shoal/base'
import { CleanCache } from './clean-cache.ts'
import { bytesToKey, keyToBytes, u64Key } from './layout.ts'

/** What seals a page: it must not open under another key than it was sealed for. */
export interface PageSeal {
  seal(key: Uint8Array, plain: Uint8Array): Uint8Array
  /** Undefined when it was changed, or sealed with another key. */
  open(key: Uint8Array, sealed: Uint8Array): Uint8Array | undefined
}

type Entry = readonly [key: Uint8Array, value: Uint8Array]

/** A child and a key that is not above its first, and above all of the child before it. */
interface Child {
  readonly first: Uint8Array
  readonly page: number
}

type Page =
  | { readonly kind: 'leaf'; readonly entries: readonly Entry[] }
  | { readonly kind: 'inner'; readonly children: readonly Child[] }

interface Root {
  /** 0 for an empty tree. */
  readonly page: number
  readonly next: number
}

interface Change {
  readonly key: Uint8Array
  /** Undefined removes the key. */
  readonly value: Uint8Array | undefined
}

const pageBytesMax = 4000
const cacheBytesMax = 8 * 1024 * 1024
const rootKey = keyToBytes('R')
const version = 1
const restartsMax = 1000

/** A batch replaced the page meanwhile. */
class PageGone {
  readonly page: number

  constructor(page: number) {
    this.page = page
  }
}

export class PageTree implements KeyValueStore {
  private readonly below: KeyValueStore
  private readonly seals: PageSeal
  private readonly cache: CleanCache<number, Page>
  private root: Root
  private turn: Promise<void> = Promise.resolve()

  private constructor(below: KeyValueStore, seals: PageSeal, root: Root, cacheBytes: number) {
    this.below = below
    this.cache = new CleanCache(cacheBytes)
    this.seals = seals
    this.root = root
  }

  static async open(below: KeyValueStore, seals: PageSeal, cacheBytes: number = cacheBytesMax): Promise<PageTree> {
    const sealed = await below.get(rootKey)
    if (sealed === undefined) return new PageTree(below, seals, { page: 0, next: 1 }, cacheBytes)
    const plain = seals.open(rootKey, sealed)
    if (plain === undefined) throw damaged('root')
    const reader = new ByteReader(plain)
    if (reader.u8() !== version) {
      throw new ClusterError('EPROTO', 'the sealed metadata is newer than this daemon', { hint: 'upgrade this daemon' })
    }
    return new PageTree(below, seals, { page: reader.u64(), next: reader.u64() }, cacheBytes)
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.onOneRoot(async (root) => {
      let number = root.page
      while (number !== 0) {
        const page = await this.page(number)
        if (page.kind === 'inner') {
          number = (page.children[childAt(page.children, key)] as Child).page
          continue
        }
        const entry = page.entries[lowerBound(page.entries, key)]
        return entry !== undefined && equalBytes(entry[0], key) ? entry[1] : undefined
      }
      return undefined
    })
  }

  entries(range: KeyRange): Promise<readonly Entry[]> {
    return this.onOneRoot(async (root) => {
      const found: Entry[] = []
      if (root.page !== 0) await this.collect(root.page, range, found)
      return found
    })
  }

  /** Looks at every page: the first key of each that is damaged, as the page above it tells. */
  async damagedPages(): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = []
    const look = async (number: number, first: Uint8Array): Promise<void> => {
      let page: Page
      try {
        page = await this.page(number)
      } catch (error) {
        if (!(error instanceof PageGone) && !isClusterError(error, 'ECHECKSUM')) throw error
        found.push(first)
        return
      }
      if (page.kind === 'inner') for (const child of page.children) await look(child.page, child.first)
    }
    await this.turn
    if (this.root.page !== 0) await look(this.root.page, new Uint8Array(0))
    return found
  }

  batch(ops: readonly KeyValueOp[], options: { readonly sync: boolean }): Promise<void> {
    const done = this.turn
      .then(() => this.apply(ops, options.sync))
      .catch((error: unknown) => {
        throw error instanceof PageGone ? damaged('page') : error
      })
    this.turn = done.catch(() => undefined)
    return done
  }

  async close(): Promise<void> {
    await this.turn
    await this.below.close()
  }

  private async onOneRoot<T>(work: (root: Root) => Promise<T>): Promise<T> {
    for (let restarts = 0; restarts < restartsMax; restarts++) {
      const { root } = this
      try {
        return await work(root)
      } catch (error) {
        if (!(error instanceof PageGone)) throw error
        // A batch may have taken the page already, and not yet come back to name its root.
        if (root === this.root) await this.turn
        if (root === this.root) throw damaged('page')
      }
    }
    throw new ClusterError('EAGAIN', 'the metadata changes too fast to be read', { retry: true })
  }

  private async collect(number: number, range: KeyRange, found: Entry[]): Promise<void> {
    const { from, to, reverse = false, limit = Number.POSITIVE_INFINITY } = range
    const page = await this.page(number)
    if (page.kind === 'leaf') {
      const low = from === undefined ? 0 : lowerBound(page.entries, from)
      const high = to === undefined ? page.entries.length : lowerBound(page.entries, to)
      const part = page.entries.slice(low, high)
      if (reverse) part.reverse()
      for (const entry of part) if (found.length < limit) found.push(entry)
      return
    }
    const low = from === undefined ? 0 : childAt(page.children, from)
    const high = to === undefined ? page.children.length - 1 : childAt(page.children, to)
    for (let step = 0; step <= high - low && found.length < limit; step++) {
      const child = page.children[reverse ? high - step : low + step] as Child
      await this.collect(child.page, range, found)
    }
  }

  private async apply(ops: readonly KeyValueOp[], sync: boolean): Promise<void> {
    const changes = sortedChanges(ops)
    const update = new Update(this.root.next, (number) => this.page(number))
    const { page } = this.root
    let top = page === 0 ? update.leaves(mergeEntries([], changes)) : await update.replace(page, changes)
    while (top.length > 1) top = update.inners(top)
    let root = top[0]?.page ?? 0
    // A chain of single children says nothing.
    for (let only = update.onlyChild(root); only !== undefined; only = update.onlyChild(root)) {
      update.drop(root)
      root = only
    }
    const next: Root = { page: root, next: update.next }
    const below: KeyValueOp[] = update.gone.map((number) => ({ kind: 'delete', key: pageKey(number) }))
    for (const [number, made] of update.made) {
      const key = pageKey(number)
      below.push({ kind: 'put', key, value: this.seals.seal(key, encodePage(made)) })
      this.remember(number, made)
    }
    const record = new ByteWriter(17).u8(version).u64(next.page).u64(next.next).finish()
    below.push({ kind: 'put', key: rootKey, value: this.seals.seal(rootKey, record) })
    await this.below.batch(below, { sync })
    this.root = next
    for (const number of update.gone) this.cache.delete(number)
  }

  private async page(number: number): Promise<Page> {
    const known = this.cache.get(number)
    if (known !== undefined) return known
    const key = pageKey(number)
    const sealed = await this.below.get(key)
    if (sealed === undefined) throw new PageGone(number)
    const plain = this.seals.open(key, sealed)
    if (plain === undefined) throw damaged('page')
    const page = decodePage(plain)
    this.remember(number, page)
    return page
  }

  private remember(number: number, page: Page): void {
    this.cache.set(number, page, 2 * pageBytes(page) + 200)
  }
}

/** The pages that one batch makes and takes away. */
class Update {
  next: number
  readonly made: Map<number, Page> = new Map()
  readonly gone: number[] = []
  private readonly load: (number: number) => Promise<Page>

  constructor(next: number, load: (number: number) => Promise<Page>) {
    this.next = next
    this.load = load
  }

  /** What takes the place of a page; nothing when nothing is left of it. */
  async replace(number: number, changes: readonly Change[]): Promise<Child[]> {
    const page = await this.load(number)
    this.gone.push(number)
    if (page.kind === 'leaf') return this.leaves(mergeEntries(page.entries, changes))
    const { children } = page
    const result: Child[] = []
    let at = 0
    for (let i = 0; i < children.length; i++) {
      const start = at
      const following = children[i + 1]?.first
      at = following === undefined ? changes.length : endBefore(changes, at, following)
      const child = children[i] as Child
      if (at === start) result.push(child)
      else result.push(...(await this.replace(child.page, changes.slice(start, at))))
    }
    return this.inners(await this.joined(result))
  }

  /** Neighbours of which one is new and both fit into one page become one, so that removals leave no crumbs. */
  private async joined(children: readonly Child[]): Promise<Child[]> {
    const result: Child[] = []
    for (const child of children) {
      const last = result[result.length - 1]
      const page = this.made.get(child.page)
      const previous = last === undefined ? undefined : this.made.get(last.page)
      if (last === undefined || (page === undefined && previous === undefined)) {
        result.push(child)
        continue
      }
      const small = (one: Page | undefined): boolean => one !== undefined && pageBytes(one) < pageBytesMax / 4
      if (!small(page) && !small(previous)) {
        result.push(child)
        continue
      }
      const both = join(previous ?? (await this.load(last.page)), page ?? (await this.load(child.page)))
      if (both === undefined || pageBytes(both) > pageBytesMax) {
        result.push(child)
        continue
      }
      this.drop(last.page)
      this.drop(child.page)
      result[result.length - 1] = this.make(both, last.first)
    }
    return result
  }

  leaves(entries: readonly Entry[]): Child[] {
    return cut(entries, entryBytes).map((part) => this.make({ kind: 'leaf', entries: part }, (part[0] as Entry)[0]))
  }

  inners(children: readonly Child[]): Child[] {
    const parts = cut(children, childBytes, 2)
    const last = parts.at(-1)
    // Invariant 4: one that is left over goes to the others.
    if (parts.length > 1 && last?.length === 1) parts.splice(-2, 2, [...(parts.at(-2) as Child[]), ...last])
    return parts.map((part) => this.make({ kind: 'inner', children: part }, (part[0] as Child).first))
  }

  onlyChild(number: number): number | undefined {
    const page = this.made.get(number)
    return page?.kind === 'inner' && page.children.length === 1 ? page.children[0]?.page : undefined
  }

  drop(number: number): void {
    if (!this.made.delete(number)) this.gone.push(number)
  }

  private make(page: Page, first: Uint8Array): Child {
    const number = this.next++
    this.made.set(number, page)
    return { first, page: number }
  }
}

/** Parts that fit into pages, of about the same size; larger ones only where `least` things do not fit into a page. */
function cut<T>(all: readonly T[], bytesOf: (one: T) => number, least = 1): T[][] {
  if (all.length === 0) return []
  const total = all.reduce((sum, one) => sum + bytesOf(one), 0)
  const aim = Math.ceil(total / Math.ceil(total / pageBytesMax))
  const parts: T[][] = []
  let part: T[] = []
  let bytes = 0
  for (const one of all) {
    const more = bytesOf(one)
    if (part.length >= least && (bytes >= aim || bytes + more > pageBytesMax)) {
      parts.push(part)
      part = []
      bytes = 0
    }
    part.push(one)
    bytes += more
  }
  parts.push(part)
  return parts
}

const entryBytes = ([key, value]: Entry): number => key.length + value.length + 8
const childBytes = ({ first }: Child): number => first.length + 12

function pageBytes(page: Page): number {
  if (page.kind === 'leaf') return page.entries.reduce((sum, entry) => sum + entryBytes(entry), 0)
  return page.children.reduce((sum, child) => sum + childBytes(child), 0)
}

function join(left: Page, right: Page): Page | undefined {
  if (left.kind === 'leaf' && right.kind === 'leaf') {
    return { kind: 'leaf', entries: [...left.entries, ...right.entries] }
  }
  if (left.kind === 'leaf' || right.kind === 'leaf') return undefined
  return { kind: 'inner', children: [...left.children, ...right.children] }
}

/** Index after the changes, from one on, whose keys are below. */
function endBefore(changes: readonly Change[], from: number, key: Uint8Array): number {
  let at = from
  while (at < changes.length && compareBytes((changes[at] as Change).key, key) < 0) at++
  return at
}

/** In key order; of several for one key the last. */
function sortedChanges(ops: readonly KeyValueOp[]): Change[] {
  const byKey = new Map<string, Change>()
  for (const op of ops) {
    byKey.set(bytesToKey(op.key), { key: op.key, value: op.kind === 'put' ? op.value : undefined })
  }
  return [...byKey.values()].sort((a, b) => compareBytes(a.key, b.key))
}

function mergeEntries(entries: readonly Entry[], changes: readonly Change[]): Entry[] {
  const merged: Entry[] = []
  let at = 0
  for (const { key, value } of changes) {
    while (at < entries.length && compareBytes((entries[at] as Entry)[0], key) < 0) merged.push(entries[at++] as Entry)
    if (at < entries.length && equalBytes((entries[at] as Entry)[0], key)) at++
    // A copy: pages outlive what brought the bytes.
    if (value !== undefined) merged.push([key.slice(), value.slice()])
  }
  while (at < entries.length) merged.push(entries[at++] as Entry)
  return merged
}

/** Index of the first entry whose key is not below. */
function lowerBound(entries: readonly Entry[], key: Uint8Array): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes((entries[middle] as Entry)[0], key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Index of the child that has the key, if any has. */
function childAt(children: readonly Child[], key: Uint8Array): number {
  let low = 1
  let high = children.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes((children[middle] as Child).first, key) <= 0) low = middle + 1
    else high = middle
  }
  return low - 1
}

function pageKey(number: number): Uint8Array {
  return keyToBytes(`N${u64Key(number)}`)
}

function encodePage(page: Page): Uint8Array {
  const writer = new ByteWriter(pageBytesMax)
  if (page.kind === 'leaf') {
    writer.u8(0).u32(page.entries.length)
    for (const [key, value] of page.entries) writer.bytes(key).bytes(value)
  } else {
    writer.u8(1).u32(page.children.length)
    for (const { first, page: number } of page.children) writer.bytes(first).u64(number)
  }
  return writer.finish()
}

function decodePage(plain: Uint8Array): Page {
  const reader = new ByteReader(plain)
  const inner = reader.u8() === 1
  const count = reader.count()
  if (inner) {
    const children: Child[] = []
    for (let i = 0; i < count; i++) children.push({ first: reader.bytes(), page: reader.u64() })
    assert(children.length > 0, 'an inner page has children')
    return { kind: 'inner', children }
  }
  const entries: Entry[] = []
  for (let i = 0; i < count; i++) entries.push([reader.bytes(), reader.bytes()])
  return { kind: 'leaf', entries }
}

function damaged(what: string): ClusterError {
  return new ClusterError('ECHECKSUM', `a ${what} of the sealed metadata is damaged`, {
    hint: 'remove this OSD and let it be rebuilt',
  })
}
