/**
 * Images without a name: out of sight, kept until somebody wants them back, or their time is over. A clone goes on reading from
 * a parent in the trash; such a one stays there until its last clone is gone.
 *
 * Order of steps: mv stores the record, then takes the name away; restore gives the name, then removes the record; rm removes
 * the image as any other, then the record. So at each moment an image can be found under a name or in the trash. One that is
 * found under both, since a client died in between, is in use: it is never removed from the trash.
 */
import {
  type ByteReader,
  type ByteWriter,
  ClusterError,
  type Codec,
  decode,
  encode,
  isClusterError,
  utf8Encode,
  versioned,
} from '@shoal/base'
import { checkImageName } from './image-directory.ts'
import { ifThere } from './object-io.ts'
import { omapEntries, omapValue } from './omap.ts'
import { noProgress, type ProgressListener, type StoreServices } from './store-services.ts'
import { trashObjectName } from './striping.ts'

export interface TrashedImage {
  readonly id: string
  /** Under which it was known. */
  readonly name: string
  readonly trashedMs: number
  /** Not removed before, unless by force. */
  readonly keepUntilMs: number
}

const keyPrefix = 'id_'
const keyOf = (id: string): Uint8Array => utf8Encode(`${keyPrefix}${id}`)

const recordCodec: Codec<Omit<TrashedImage, 'id'>> = versioned<Omit<TrashedImage, 'id'>>(1, 1, 'trashed image', {
  write(writer: ByteWriter, { name, trashedMs, keepUntilMs }) {
    writer.string(name).f64(trashedMs).f64(keepUntilMs)
  },
  read: (reader: ByteReader) => ({ name: reader.string(), trashedMs: reader.f64(), keepUntilMs: reader.f64() }),
})

export class ImageTrash {
  private readonly services: StoreServices
  private readonly removeImage: (id: string, onProgress: ProgressListener) => Promise<void>

  /** `removeImage`: all of an image but its name. */
  constructor(services: StoreServices, removeImage: (id: string, onProgress: ProgressListener) => Promise<void>) {
    this.services = services
    this.removeImage = removeImage
  }

  /** Who has the image open goes on with it. */
  async move(name: string, delayMs = 0): Promise<TrashedImage> {
    const { directory, env, io } = this.services
    const id = await directory.idOf(name)
    const trashedMs = env.clock.wallMs()
    const record = { name, trashedMs, keepUntilMs: trashedMs + delayMs }
    await io.execute(trashObjectName, [
      { kind: 'omap-set', entries: [{ key: keyOf(id), value: encode(recordCodec, record) }] },
    ])
    await directory.remove(name, id)
    return { id, ...record }
  }

  /** By their ids. */
  async list(): Promise<readonly TrashedImage[]> {
    const entries = (await ifThere(omapEntries(this.services.io, trashObjectName, keyPrefix))) ?? new Map()
    return Array.from(entries, ([id, value]) => ({ id, ...decode(recordCodec, value) }))
  }

  /** Under the name that it had, or another one: EEXIST when that is taken. Resolves with it. */
  async restore(id: string, name?: string): Promise<string> {
    const { directory } = this.services
    const trashed = await this.find(id)
    const wanted = name ?? trashed.name
    checkImageName(wanted)
    // A client that died may have done so much.
    const had = await directory.nameOf(id)
    if (had === undefined) await directory.add(wanted, id)
    await this.forget(id)
    return had ?? wanted
  }

  /** EBUSY before its time, unless by force, and while clones need it. Goes on where it was interrupted. */
  async remove(id: string, force = false, onProgress: ProgressListener = noProgress): Promise<void> {
    const { directory, env } = this.services
    const { name, keepUntilMs } = await this.find(id)
    const inUse = await directory.nameOf(id)
    if (inUse !== undefined) {
      throw new ClusterError('EBUSY', `image ${inUse} was not moved to the trash to the end`, {
        hint: `shoal block trash mv ${inUse}, or trash restore ${id}`,
      })
    }
    if (!force && env.clock.wallMs() < keepUntilMs) {
      throw new ClusterError('EBUSY', `image ${name} is kept until ${new Date(keepUntilMs).toISOString()}`, {
        hint: 'add --force if it is not wanted back',
      })
    }
    await this.removeImage(id, onProgress)
    await this.forget(id)
  }

  /** Removes all whose time is over; resolves with those that clones need still. */
  async purge(onProgress: ProgressListener = noProgress): Promise<readonly TrashedImage[]> {
    const nowMs = this.services.env.clock.wallMs()
    const due = (await this.list()).filter(({ keepUntilMs }) => keepUntilMs <= nowMs)
    const kept: TrashedImage[] = []
    let done = 0
    for (const image of due) {
      try {
        await this.remove(image.id)
      } catch (error) {
        if (!isClusterError(error, 'EBUSY')) throw error
        kept.push(image)
      }
      onProgress(++done, due.length)
    }
    return kept
  }

  private async find(id: string): Promise<TrashedImage> {
    const value = await ifThere(omapValue(this.services.io, trashObjectName, keyOf(id)))
    if (value !== undefined) return { id, ...decode(recordCodec, value) }
    throw new ClusterError('ENOENT', `there is no image ${id} in the trash`, { hint: 'shoal block trash ls' })
  }

  private async forget(id: string): Promise<void> {
    await this.services.io.execute(trashObjectName, [{ kind: 'omap-remove', keys: [keyOf(id)] }])
  }
}
