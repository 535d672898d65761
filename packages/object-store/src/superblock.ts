/**
 * The superblock: what the store is. Written once, last, when a store is made: a directory without one is no store.
 *
 * A reader refuses a store with an unknown bit in `incompatible`; an unknown bit in `compatible` changes nothing for it.
 */
import { ByteReader, ByteWriter, ClusterError, hexEncode } from '@shoal/base'
import type { Checksums } from './checksum.ts'

export interface Superblock {
  /** 16 bytes. */
  readonly storeUuid: Uint8Array
  /** The cluster, 16 bytes; zeros when the store belongs to none. */
  readonly clusterUuid: Uint8Array
  /** In every journal record, so that a ring copied from another store never replays. */
  readonly nonce: number
  readonly compatible: number
  readonly incompatible: number
  readonly dataBytes: number
  readonly journalBytes: number
}

const magic = 0x5342_4853 // "SHBS"
const version = 1
/** Bits of `incompatible`: everything but this file and `key` is encrypted. */
export const encryptedFeature = 1
const knownIncompatible = encryptedFeature
const sizeBytes = 80

export function encodeSuperblock(checksums: Checksums, superblock: Superblock): Uint8Array {
  const writer = new ByteWriter(sizeBytes).u32(magic).u32(version)
  writer.u32(superblock.compatible).u32(superblock.incompatible)
  writer.raw(superblock.storeUuid).raw(superblock.clusterUuid)
  writer.u64(superblock.nonce).u64(superblock.dataBytes).u64(superblock.journalBytes)
  const checksum = checksums.xxh64(writer.finish())
  return writer.big64(checksum).finish()
}

/** Throws EIO for damage, EPROTO for a store of a newer format. */
export function decodeSuperblock(checksums: Checksums, bytes: Uint8Array): Superblock {
  const damaged = (why: string): ClusterError =>
    new ClusterError('EIO', `the superblock is damaged: ${why}`, {
      hint: 'this directory cannot be mounted: remove the OSD and let it be rebuilt',
    })
  if (bytes.length !== sizeBytes) throw damaged(`${bytes.length} bytes instead of ${sizeBytes}`)
  const reader = new ByteReader(bytes)
  if (reader.u32() !== magic) throw damaged('no magic number')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getBigUint64(sizeBytes - 8, true) !== checksums.xxh64(bytes.subarray(0, sizeBytes - 8))) {
    throw damaged('wrong checksum')
  }
  const theirs = reader.u32()
  const compatible = reader.u32()
  const incompatible = reader.u32()
  if (theirs !== version || (incompatible & ~knownIncompatible) !== 0) {
    throw new ClusterError('EPROTO', `store format ${theirs}, features ${incompatible}: newer than this daemon`, {
      hint: 'upgrade this daemon',
    })
  }
  return {
    compatible,
    incompatible,
    storeUuid: reader.raw(16),
    clusterUuid: reader.raw(16),
    nonce: reader.u64(),
    dataBytes: reader.u64(),
    journalBytes: reader.u64(),
  }
}

export function formatUuid(uuid: Uint8Array): string {
  const hex = hexEncode(uuid)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
