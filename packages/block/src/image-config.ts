/** Settings of one image, kept beside its header (omap `conf_NAME` -> text); whoever has the image open is told. */
import { ClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import { tellAll } from './header-channel.ts'
import { encodeNotice } from './header-notice.ts'
import type { ChannelIo, ObjectIo } from './object-io.ts'
import { headerObjectName } from './striping.ts'

const prefix = 'conf_'
const tellMs = 3_000

/** Per second, of each gateway that has the image open; `burst`: so much at once after a rest, a second's worth if left out. */
export const imageOptions = [
  'qos_iops_limit',
  'qos_iops_burst',
  'qos_bps_limit',
  'qos_bps_burst',
  'qos_read_iops_limit',
  'qos_read_iops_burst',
  'qos_read_bps_limit',
  'qos_read_bps_burst',
  'qos_write_iops_limit',
  'qos_write_iops_burst',
  'qos_write_bps_limit',
  'qos_write_bps_burst',
] as const
export type ImageOption = (typeof imageOptions)[number]

/** What is set: whole numbers, of requests or of bytes. */
export type ImageConfig = ReadonlyMap<ImageOption, number>

export function imageOption(name: string): ImageOption {
  const found = imageOptions.find((option) => option === name)
  if (found !== undefined) return found
  throw new ClusterError('EINVAL', `images have no option ${name}`, { hint: imageOptions.join(', ') })
}

export async function readImageConfig(io: ObjectIo, imageId: string): Promise<ImageConfig> {
  const { results } = await io.execute(headerObjectName(imageId), [
    { kind: 'omap-get-range', after: undefined, prefix: utf8Encode(prefix), limit: 256 },
  ])
  const config = new Map<ImageOption, number>()
  for (const { key, value } of results[0]?.kind === 'omap' ? results[0].entries : []) {
    const option = imageOptions.find((one) => one === utf8Decode(key).slice(prefix.length))
    const number = Number(utf8Decode(value))
    // A newer version may know more.
    if (option !== undefined && number > 0) config.set(option, number)
  }
  return config
}

/** 0 takes it back. Resolves once those who have the image open go by it, or did not answer. */
export async function setImageOption(
  io: ChannelIo,
  imageId: string,
  option: ImageOption,
  value: number,
): Promise<void> {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new ClusterError('EINVAL', `${option} is a whole number from 0, not ${value}`)
  }
  const key = utf8Encode(`${prefix}${option}`)
  await io.execute(headerObjectName(imageId), [
    { kind: 'assert-exists' },
    value === 0
      ? { kind: 'omap-remove', keys: [key] }
      : { kind: 'omap-set', entries: [{ key, value: utf8Encode(String(value)) }] },
  ])
  await tellAll(io, imageId, encodeNotice('header-changed'), tellMs)
}
