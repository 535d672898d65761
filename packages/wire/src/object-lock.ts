/**
 * Advisory locks on objects, as steps of a client's operation (Ceph's `cls_lock`): whoever asks is told whether it holds the
 * lock; nothing else is refused to those who do not ask. docs/mechanisms/locks.md
 */
import { array, type ByteReader, type ByteWriter, type Codec, f64, oneOf, string, struct, u64 } from '@shoal/base'

export const lockModes = ['exclusive', 'shared'] as const
export type LockMode = (typeof lockModes)[number]

/** Whether a lock that the caller holds already is prolonged: it is an error, it is, or it must be held. */
export const lockRenewals = ['no', 'may', 'must'] as const
export type LockRenewal = (typeof lockRenewals)[number]

/** One holder: a client session, and a cookie by which it tells its own locks apart. */
export interface LockHolder {
  readonly client: number
  readonly cookie: string
  /** For people. */
  readonly description: string
  /** By the primary's wall clock; 0 for one that does not expire. */
  readonly expiresMs: number
}

export interface ObjectLock {
  readonly name: string
  readonly mode: LockMode
  /** Holders of one lock agree on it; it tells uses of the same name apart. */
  readonly tag: string
  readonly holders: readonly LockHolder[]
}

export type LockOp =
  /** Read. One lock, or all of them for the empty name; what has expired is left out. */
  | { readonly kind: 'list-locks'; readonly name: string }
  /** Guard. [EBUSY] The caller holds the lock in this mode, under this cookie and tag. */
  | {
      readonly kind: 'assert-locked'
      readonly name: string
      readonly mode: LockMode
      readonly cookie: string
      readonly tag: string
    }
  /**
   * Makes the object if it is missing. [EBUSY] held by others in a way that excludes this, or with another tag; [EEXIST]
   * held already and not to be renewed; [ENOENT] must be renewed and is not held.
   */
  | {
      readonly kind: 'lock'
      readonly name: string
      readonly mode: LockMode
      readonly cookie: string
      readonly tag: string
      readonly description: string
      /** 0: until it is given up or broken. */
      readonly durationMs: number
      readonly renew: LockRenewal
    }
  /** [ENOENT] The caller does not hold it under this cookie. */
  | { readonly kind: 'unlock'; readonly name: string; readonly cookie: string }
  /** Takes it from another session. [ENOENT] Fence that session before its work is taken over. */
  | { readonly kind: 'break-lock'; readonly name: string; readonly client: number; readonly cookie: string }

export const lockNameBytesMax = 128
export const lockTextBytesMax = 512

const modeCodec = oneOf(lockModes)
const renewCodec = oneOf(lockRenewals)

export const objectLockCodec: Codec<ObjectLock> = struct<ObjectLock>({
  name: string(),
  mode: modeCodec,
  tag: string(),
  holders: array(struct<LockHolder>({ client: u64(), cookie: string(), description: string(), expiresMs: f64() })),
})

export const objectLocksCodec: Codec<readonly ObjectLock[]> = array(objectLockCodec)

export function writeLockOp(writer: ByteWriter, op: LockOp): void {
  writer.string(op.name)
  switch (op.kind) {
    case 'list-locks':
      return
    case 'assert-locked':
      modeCodec.write(writer, op.mode)
      writer.string(op.cookie).string(op.tag)
      return
    case 'lock':
      modeCodec.write(writer, op.mode)
      writer.string(op.cookie).string(op.tag).string(op.description).f64(op.durationMs)
      renewCodec.write(writer, op.renew)
      return
    case 'unlock':
      writer.string(op.cookie)
      return
    case 'break-lock':
      writer.u64(op.client).string(op.cookie)
      return
  }
}

export function readLockOp(reader: ByteReader, kind: LockOp['kind']): LockOp {
  const name = reader.string()
  switch (kind) {
    case 'list-locks':
      return { kind, name }
    case 'assert-locked':
      return { kind, name, mode: modeCodec.read(reader), cookie: reader.string(), tag: reader.string() }
    case 'lock':
      return {
        kind,
        name,
        mode: modeCodec.read(reader),
        cookie: reader.string(),
        tag: reader.string(),
        description: reader.string(),
        durationMs: reader.f64(),
        renew: renewCodec.read(reader),
      }
    case 'unlock':
      return { kind, name, cookie: reader.string() }
    case 'break-lock':
      return { kind, name, client: reader.u64(), cookie: reader.string() }
  }
}
