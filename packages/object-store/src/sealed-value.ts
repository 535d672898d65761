/**
 * Every value in `meta/` ends in four bytes: the low half of xxh64 over its key and the value before them. `level` does
 * not check its blocks on reads by default, and a value that sits under the wrong key is damage as well.
 */
import { ClusterError } from '@shoal/base'
import type { Checksums } from './checksum.ts'
import type { Key } from './layout.ts'

export interface SealedEntry {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export function seal(checksums: Checksums, key: Key, value: Uint8Array): SealedEntry {
  const keyLength = key.length
  const whole = new Uint8Array(keyLength + value.length + 4)
  for (let i = 0; i < keyLength; i++) whole[i] = key.charCodeAt(i)
  whole.set(value, keyLength)
  const bodyLength = keyLength + value.length
  const sum = checksums.low32(whole.subarray(0, bodyLength))
  whole[bodyLength] = sum & 0xff
  whole[bodyLength + 1] = (sum >>> 8) & 0xff
  whole[bodyLength + 2] = (sum >>> 16) & 0xff
  whole[bodyLength + 3] = sum >>> 24
  return { key: whole.subarray(0, keyLength), value: whole.subarray(keyLength) }
}

/** The value without its seal. Throws ECHECKSUM. */
export function unseal(checksums: Checksums, key: Uint8Array, value: Uint8Array): Uint8Array {
  const length = value.length - 4
  if (length >= 0) {
    const whole = new Uint8Array(key.length + length)
    whole.set(key)
    whole.set(value.subarray(0, length), key.length)
    const sum = checksums.low32(whole)
    const stored =
      ((value[length] as number) |
        ((value[length + 1] as number) << 8) |
        ((value[length + 2] as number) << 16) |
        ((value[length + 3] as number) << 24)) >>>
      0
    if (sum === stored) return value.subarray(0, length)
  }
  throw new ClusterError('ECHECKSUM', 'a metadata record of the object store is damaged', {
    hint: 'stop this OSD and run `shoal fsck` on its directory; if it reports damage, remove the OSD and let it be rebuilt',
  })
}
