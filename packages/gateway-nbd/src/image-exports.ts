/**
 * Images as exports, by the name `POOL/IMAGE`, and their snapshots, read-only, as `POOL/IMAGE@SNAPSHOT`. An image is opened
 * once and shared by its connections; it closes with the last of them. Each new connection asks for the header again, so
 * that it sees the size that the image has now, and a new image or snapshot under an old name is another one. A connection
 * keeps the size it was told; what lies beyond the present end is refused on all of them.
 */
import { ClusterError, isClusterError } from '@shoal/base'
import { type Image, type ImageChange, type ImageSession, visibleSnapshots } from '@shoal/block'
import type { BlockDevice, DirtyExtent, ExportSource, NbdExport } from './block-device.ts'
import type { ImageSource } from './image-source.ts'

/** Reads and writes that cover whole data blocks of the object store need no read-modify-write there. */
const preferredBlockBytes = 64 * 1024
/** One is enough for an image that was removed and made again, or taken from us once. */
const openAttemptsMax = 5

/** Of one connection: those of one image take turns under its limits. */
function imageDevice(session: ImageSession, name: string, readOnly: boolean): BlockDevice {
  const user = {}
  const limited = async <T>(kind: 'read' | 'write', bytes: number, run: () => Promise<T>): Promise<T> => {
    await session.qos?.enter(user, kind, bytes)
    return run()
  }
  return {
    get sizeBytes() {
      return session.image.sizeBytes
    },
    readOnly: readOnly || session.image.readOnly,
    description: `Shoal image ${name}`,
    preferredBlockBytes,
    read: (offset, length) =>
      session.qos === undefined
        ? session.read(offset, length)
        : limited('read', length, () => session.read(offset, length)),
    write: (offset, data) =>
      session.qos === undefined
        ? session.write(offset, data)
        : limited('write', data.length, () => session.write(offset, data)),
    flush: () => session.flush(),
    trim: (offset, length) => limited('write', 0, () => session.discard(offset, length)),
    writeZeroes: (offset, length, punchHole) =>
      limited('write', punchHole ? 0 : length, () => session.writeZeroes(offset, length, punchHole)),
    extents: (offset, length) => session.extents(offset, length),
    changes: async (snapshot, offset, length) =>
      dirtyExtents(await session.changes(snapshot, offset, length), offset, length),
  }
}

/** Changes as extents that cover the range: what lies between two is clean. */
function dirtyExtents(changes: readonly ImageChange[], offset: number, length: number): readonly DirtyExtent[] {
  const extents: { length: number; readonly dirty: boolean }[] = []
  const add = (bytes: number, dirty: boolean): void => {
    const last = extents.at(-1)
    if (last?.dirty === dirty) last.length += bytes
    else if (bytes > 0) extents.push({ length: bytes, dirty })
  }
  let at = offset
  for (const change of changes) {
    add(change.offset - at, false)
    add(change.length, true)
    at = change.offset + change.length
  }
  add(offset + length - at, false)
  return extents
}

export interface ImageExportsOptions {
  /** The pools whose images are offered, at this moment. */
  readonly pools: () => readonly string[]
  /** Only these `POOL/IMAGE`s; all images of the pools when left out. */
  readonly only?: readonly string[]
  /** All exports, whatever they would allow. */
  readonly readOnly?: boolean
  /** What the empty export name means; nothing when left out. */
  readonly defaultExport?: string
  readonly source: ImageSource
}

interface OpenImage {
  readonly session: Promise<ImageSession>
  users: number
}

export class ImageExports implements ExportSource {
  private readonly options: ImageExportsOptions
  private readonly opened = new Map<string, OpenImage>()
  /** Those whose last user has gone, and that have not given their lock back yet. */
  private readonly closing = new Set<Promise<void>>()

  constructor(options: ImageExportsOptions) {
    this.options = options
  }

  async list(): Promise<readonly { readonly name: string; readonly description: string }[]> {
    const names: string[] = []
    for (const pool of this.options.pools()) {
      const images = await (await this.options.source.store(pool)).list()
      names.push(...images.map((image) => `${pool}/${image.name}`))
    }
    return names.filter((name) => this.isOffered(name)).map((name) => ({ name, description: '' }))
  }

  /** EBUSY when the image is taken from us, or is another one, each time that we have opened it. */
  async open(requested: string): Promise<NbdExport | undefined> {
    const name = this.properName(requested)
    if (!this.isOffered(name)) return undefined
    for (let attempt = 0; attempt < openAttemptsMax; attempt++) {
      const shared = this.shared(name)
      try {
        const session = await shared.session
        const { image } = session
        const { id } = await (await this.options.source.store(poolOf(name))).info(imageNameOf(name))
        if (id === image.header.id && !session.isEnded && (await isStillThere(image))) {
          const device = imageDevice(session, name, this.options.readOnly === true)
          return { name, device, close: () => this.release(name, shared) }
        }
      } catch (error) {
        await this.release(name, shared)
        if (isClusterError(error, 'ENOENT')) return undefined
        throw error
      }
      // Removed and made again, or taken from us: who is connected keeps what is left of the old one.
      if (this.opened.get(name) === shared) this.opened.delete(name)
      await this.release(name, shared)
    }
    throw new ClusterError('EBUSY', `${name} was lost ${openAttemptsMax} times while it was opened`, {
      hint: `see who takes it: shoal block lock ls ${name.split('@', 1)[0]}; shoal osd blocklist ls`,
      retry: true,
    })
  }

  /** Closes every image, whoever has it open still: their locks are free for others. */
  async close(): Promise<void> {
    const opened = [...this.opened.values()]
    this.opened.clear()
    const closed = [...this.closing, ...opened.map((image) => this.closeSession(image))]
    const failed = (await Promise.allSettled(closed)).find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  /** Of a snapshot, those before it. */
  async snapshots(requested: string): Promise<readonly string[] | undefined> {
    const name = this.properName(requested)
    if (!this.isOffered(name)) return undefined
    try {
      const header = await (await this.options.source.store(poolOf(name))).info(imageNameOf(name))
      const entries = visibleSnapshots(header)
      const at = snapshotOf(name)
      const older =
        at === undefined
          ? entries
          : entries.slice(
              0,
              entries.findIndex((entry) => entry.name === at),
            )
      return older.map((entry) => entry.name)
    } catch (error) {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    }
  }

  private properName(requested: string): string {
    return requested === '' ? (this.options.defaultExport ?? '') : requested
  }

  private shared(name: string): OpenImage {
    let image = this.opened.get(name)
    if (image === undefined) {
      image = { session: this.options.source.open(poolOf(name), imageNameOf(name)), users: 0 }
      this.opened.set(name, image)
    }
    image.users++
    return image
  }

  /** With the last of its users the image closes, and its lock is free for others. */
  private async release(name: string, image: OpenImage): Promise<void> {
    if (--image.users > 0) return
    if (this.opened.get(name) === image) this.opened.delete(name)
    await this.closeSession(image)
  }

  private async closeSession({ session }: OpenImage): Promise<void> {
    const closing = session.then(
      (opened) => opened.close(),
      () => undefined,
    )
    this.closing.add(closing)
    try {
      await closing
    } finally {
      this.closing.delete(closing)
    }
  }

  private isOffered(name: string): boolean {
    const slash = name.indexOf('/')
    if (slash < 0 || !this.options.pools().includes(name.slice(0, slash))) return false
    const { only } = this.options
    return only === undefined || only.includes(name) || only.includes(name.split('@', 1)[0] as string)
  }
}

function poolOf(name: string): string {
  return name.slice(0, name.indexOf('/'))
}

/** False when the image, or the snapshot that it was opened at, is gone. */
async function isStillThere(image: Image): Promise<boolean> {
  try {
    await image.refresh()
    return true
  } catch (error) {
    if (isClusterError(error, 'ENOENT')) return false
    throw error
  }
}

function snapshotOf(name: string): string | undefined {
  const at = name.indexOf('@')
  return at < 0 ? undefined : name.slice(at + 1)
}

function imageNameOf(name: string): string {
  return name.slice(name.indexOf('/') + 1)
}
