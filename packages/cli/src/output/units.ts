/** Sizes and times as people write them. Binary units throughout: 1 KiB = 1024 bytes. */
import { ClusterError } from '@shoal/base'

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** `1536` -> `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${units[unit]}`
}

/** `4M`, `4MiB`, `4096`, `1.5g` -> bytes. Throws EINVAL. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text.trim())
  const exponent = match?.[2] === undefined ? 0 : 'kmgtp'.indexOf(match[2].toLowerCase()) + 1
  const bytes = match === null ? Number.NaN : Number(match[1]) * 1024 ** exponent
  if (!Number.isSafeInteger(bytes)) {
    throw new ClusterError('EINVAL', `not a size: ${text}`, {
      hint: 'write a number of bytes, or one with K, M, G or T: 64M',
    })
  }
  return bytes
}

/** Throws EINVAL unless the text is an integer in [min, max]. */
export function parseInteger(text: string, what: string, min = 0, max: number = Number.MAX_SAFE_INTEGER): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const bounds = max < Number.MAX_SAFE_INTEGER ? ` from ${min} to ${max}` : min >= 0 ? ` from ${min} on` : ''
    throw new ClusterError('EINVAL', `${what}: ${text} is not a whole number${bounds}`)
  }
  return value
}

/** Throws EINVAL unless the text is a number in [min, max]. */
export function parseNumber(text: string, what: string, min: number, max: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) {
    throw new ClusterError('EINVAL', `${what}: ${text} is not a number from ${min} to ${max}`)
  }
  return value
}

/** `0` or `osd.0` -> 0. */
export function parseOsd(text: string): number {
  const digits = text.startsWith('osd.') ? text.slice(4) : text
  if (!/^\d{1,7}$/.test(digits)) throw new ClusterError('EINVAL', `not an OSD: ${text}`, { hint: 'write 3 or osd.3' })
  return Number(digits)
}

/** `75.3 s`, `12m`, `3h 5m`, `2d 1h`. */
export function formatDuration(milliseconds: number): string {
  const seconds = milliseconds / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours}h ${minutes % 60}m`
  return `${Math.floor(hours / 24)}d ${hours % 24}h`
}

const durationUnits: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `30s`, `5m`, `2h`, `1d` -> milliseconds. Throws EINVAL. */
export function parseDuration(text: string): number {
  const match = /^(\d+)([smhd])$/.exec(text.trim())
  const milliseconds = Number(match?.[1]) * (durationUnits[match?.[2] ?? ''] ?? Number.NaN)
  if (Number.isSafeInteger(milliseconds) && milliseconds > 0) return milliseconds
  throw new ClusterError('EINVAL', `not a time: ${text}`, { hint: 'a number with s, m, h or d: 5m' })
}
