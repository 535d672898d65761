/**
 * Where a write stands in the history of its placement group: the epoch of the interval in which the primary ordered
 * it, then a counter that only grows. (Ceph's eversion_t.)
 */
import type { ByteReader, ByteWriter, Codec, Epoch } from '@shoal/base'

export interface Version {
  readonly epoch: Epoch
  readonly version: number
}

export const zeroVersion: Version = { epoch: 0 as Epoch, version: 0 }

export function compareVersions(a: Version, b: Version): number {
  return a.epoch - b.epoch || a.version - b.version
}

export function equalVersions(a: Version, b: Version): boolean {
  return a.version === b.version && a.epoch === b.epoch
}

export function minVersion(a: Version, b: Version): Version {
  return compareVersions(a, b) <= 0 ? a : b
}

export function formatVersion(v: Version): string {
  return `${v.epoch}'${v.version}`
}

export const versionCodec: Codec<Version> = {
  write(writer: ByteWriter, v: Version) {
    writer.u32(v.epoch).u64(v.version)
  },
  read: (reader: ByteReader): Version => ({ epoch: reader.u32() as Epoch, version: reader.u64() }),
}

/**
 * Names one request for ever: the client session (a random 53-bit id, new at every start of a client) and its
 * transaction id in it. A resend carries the same id, which is how a PG recognises it.
 */
export interface RequestId {
  readonly client: number
  readonly tid: number
}

export const noRequest: RequestId = { client: 0, tid: 0 }

export function requestKey(id: RequestId): string {
  return `${id.client}.${id.tid}`
}

export const requestIdCodec: Codec<RequestId> = {
  write(writer: ByteWriter, id: RequestId) {
    writer.u64(id.client).u64(id.tid)
  },
  read: (reader: ByteReader): RequestId => ({ client: reader.u64(), tid: reader.u64() }),
}
