/**
 * Images as exports, by the name `POOL/IMAGE`. An image is opened once and shared by its connections; it closes with
 * the last of them, so that an image that was resized or removed is seen anew by the next client.
 */
import { ClusterError, isClusterError } from '@shoal/base'
import type { Image, ImageStore } from '@shoal/block'
import type { BlockDevice, ExportSource, NbdExport } from './block-device.ts'

/** Reads and writes that cover whole data blocks of the object store need no read-modify-write there. */
const preferredBlockBytes = 64 * 1024

function imageDevice(image: Image, name: string): BlockDevice {
  return {
    sizeBytes: image.sizeBytes,
    readOnly: false,
    description: `Shoal image ${name}`,
    preferredBlockBytes,
    read: (offset, length) => image.read(offset, length),
    write: (offset, data) => image.write(offset, data),
    flush: () => image.flush(),
    trim: (offset, length) => image.discard(offset, length),
    writeZeroes: (offset, length, punchHole) => image.writeZeroes(offset, length, punchHole),
    extents: (offset, length) => image.extents(offset, length),
  }
}

export interface ImageExportsOptions {
  /** The pools whose images are offered, at this moment. */
  readonly pools: () => readonly string[]
  /** Only these `POOL/IMAGE`s; all images of the pools when left out. */
  readonly only?: readonly string[]
  /** What the empty export name means; nothing when left out. */
  readonly defaultExport?: string
  /** ENOENT for a pool that does not exist. */
  readonly store: (pool: string) => Promise<ImageStore>
}

interface OpenImage {
  readonly device: Promise<BlockDevice>
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
    const name = requested === '' ? (this.options.defaultExport ?? '') : requested
    if (!this.isOffered(name)) return undefined
    let image = this.opened.get(name)
    if (image === undefined) {
      image = { device: this.openDevice(name), users: 0 }
      this.opened.set(name, image)
    }
    const shared = image
    shared.users++
    const release = (): void => {
      if (--shared.users === 0 && this.opened.get(name) === shared) this.opened.delete(name)
    }
    try {
      return { device: await shared.device, close: async () => release() }
    } catch (error) {
      release()
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    }
  }

  private isOffered(name: string): boolean {
    const slash = name.indexOf('/')
    if (slash < 0 || !this.options.pools().includes(name.slice(0, slash))) return false
    return this.options.only === undefined || this.options.only.includes(name)
  }

  private async openDevice(name: string): Promise<BlockDevice> {
    const slash = name.indexOf('/')
    if (slash < 0) throw new ClusterError('ENOENT', `not POOL/IMAGE: ${name}`)
    const store = await this.options.store(name.slice(0, slash))
    return imageDevice(await store.open(name.slice(slash + 1)), name)
  }
}
