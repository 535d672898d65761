/**
 * Images as exports, by the name `POOL/IMAGE`, and their snapshots, read-only, as `POOL/IMAGE@SNAPSHOT`. An image is opened
 * once and shared by its connections; it closes with the last of them. Each new connection asks for the header again, so
 * that it sees the size that the image has now, and a new image or snapshot under an old name is another one. A connection
 * keeps the size it was told; what lies beyond the present end is refused on all of them.
 */
import { isClusterError } from '@shoal/base'
import type { Image, ImageChange, ImageStore } from '@shoal/block'
import type { BlockDevice, DirtyExtent, ExportSource, NbdExport } from './block-device.ts'

/** Reads and writes that cover whole data blocks of the object store need no read-modify-write there. */
const preferredBlockBytes = 64 * 1024

function imageDevice(image: Image, name: string, readOnly: boolean): BlockDevice {
  return {
    get sizeBytes() {
      return image.sizeBytes
    },
    readOnly: readOnly || image.readOnly,
    description: `Shoal image ${name}`,
    preferredBlockBytes,
    read: (offset, length) => image.read(offset, length),
    write: (offset, data) => image.write(offset, data),
    flush: () => image.flush(),
    trim: (offset, length) => image.discard(offset, length),
    writeZeroes: (offset, length, punchHole) => image.writeZeroes(offset, length, punchHole),
    extents: (offset, length) => image.extents(offset, length),
    changes: async (snapshot, offset, length) =>
      dirtyExtents(await image.changes(snapshot, offset, length), offset, length),
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
  /** ENOENT for a pool that does not exist. */
  readonly store: (pool: string) => Promise<ImageStore>
}

interface OpenImage {
  readonly image: Promise<Image>
  users: number
}

export class ImageExports implements ExportSource {
  private readonly options: ImageExportsOptions
  private readonly opened = new Map<string, OpenImage>()

  constructor(options: ImageExportsOptions) {
    this.options = options
  }

  async list(): Promise<readonly { readonly name: string; readonly description: string }[]> {
    const names: string[] = []
    for (const pool of this.options.pools()) {
      const images = await (await this.options.store(pool)).list()
      names.push(...images.map((image) => `${pool}/${image.name}`))
    }
    return names.filter((name) => this.isOffered(name)).map((name) => ({ name, description: '' }))
  }

  async open(requested: string): Promise<NbdExport | undefined> {
    const name = this.properName(requested)
    if (!this.isOffered(name)) return undefined
    const shared = this.shared(name)
    try {
      const image = await shared.image
      const { id } = await (await this.storeOf(name)).info(imageNameOf(name))
      if (id === image.header.id && (await isStillThere(image))) {
        const device = imageDevice(image, name, this.options.readOnly === true)
        return { name, device, close: async () => this.release(name, shared) }
      }
    } catch (error) {
      this.release(name, shared)
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    }
    // Removed and made again: who is connected keeps what is left of the old one.
    if (this.opened.get(name) === shared) this.opened.delete(name)
    this.release(name, shared)
    return this.open(requested)
  }

  /** Of a snapshot, those before it. */
  async snapshots(requested: string): Promise<readonly string[] | undefined> {
    const name = this.properName(requested)
    if (!this.isOffered(name)) return undefined
    try {
      const header = await (await this.storeOf(name)).info(imageNameOf(name))
      const entries = (header.snapshots?.entries ?? []).filter(({ kind, removing }) => kind !== 'trash' && !removing)
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
      image = { image: this.storeOf(name).then((store) => store.open(imageNameOf(name))), users: 0 }
      this.opened.set(name, image)
    }
    image.users++
    return image
  }

  private release(name: string, image: OpenImage): void {
    if (--image.users === 0 && this.opened.get(name) === image) this.opened.delete(name)
  }

  private isOffered(name: string): boolean {
    const slash = name.indexOf('/')
    if (slash < 0 || !this.options.pools().includes(name.slice(0, slash))) return false
    const { only } = this.options
    return only === undefined || only.includes(name) || only.includes(name.split('@', 1)[0] as string)
  }

  private storeOf(name: string): Promise<ImageStore> {
    return this.options.store(name.slice(0, name.indexOf('/')))
  }
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
