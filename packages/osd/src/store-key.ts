/**
 * Where the key of an encrypted store comes from. A store key is drawn when the store is made; the monitors keep it in
 * their config-key store under Ceph's name, sealed with a key that comes from the cluster's own (HKDF): neither who
 * listens on the way nor who reads a monitor's disk learns it. An OSD that starts asks for it, and holds it in memory.
 *
 * What must be durable before what: the key with the monitors -> the store that it opens.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { ClusterError, type Env, hexDecode, hexEncode, isClusterError, type Random, utf8Encode } from '@shoal/base'
import type { MonitorClient, MonitorCommand } from '@shoal/monitor-client'
import { storeKeyBytes } from '@shoal/object-store'

const nonceBytes = 12
const tagBytes = 16
const patienceMs = 120_000
const pauseMs = 500
const restoreHint = 'with a backup: shoal osd key restore FILE; without one, remove the OSD and let it be rebuilt'

/** As Ceph names the keys of its encrypted OSDs. `uuid` is the OSD's. */
export function storeKeyName(uuid: string): string {
  return `dm-crypt/osd/${uuid}/luks`
}

/** The OSD's uuid; undefined when the config key is not of a store. */
export function uuidOfStoreKey(name: string): string | undefined {
  return /^dm-crypt\/osd\/([^/]+)\/luks$/.exec(name)?.[1]
}

/** The store key as the monitors keep it: hex of nonce, sealed key, tag. */
export function sealStoreKey(random: Random, secret: Uint8Array, uuid: string, storeKey: Uint8Array): string {
  const nonce = random.bytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', sealingKey(secret), nonce)
  cipher.setAAD(utf8Encode(storeKeyName(uuid)))
  const sealed = new Uint8Array(nonceBytes + storeKeyBytes + tagBytes)
  sealed.set(nonce)
  sealed.set(cipher.update(storeKey), nonceBytes)
  cipher.final()
  sealed.set(cipher.getAuthTag(), nonceBytes + storeKeyBytes)
  return hexEncode(sealed)
}

/** Throws EACCES when it was sealed with the key of another cluster, or for another OSD. */
export function openStoreKey(secret: Uint8Array, uuid: string, text: string): Uint8Array {
  const sealed = hexDecode(text)
  const wrong = (cause?: unknown): ClusterError =>
    new ClusterError(
      'EACCES',
      `the key that the monitors keep for the store ${uuid} does not open with this cluster's key`,
      {
        cause,
        hint: `the keyring is not the one that it was sealed with, or the value was changed; ${restoreHint}`,
      },
    )
  if (sealed === undefined || sealed.length !== nonceBytes + storeKeyBytes + tagBytes) throw wrong()
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(secret), sealed.subarray(0, nonceBytes))
  decipher.setAAD(utf8Encode(storeKeyName(uuid)))
  decipher.setAuthTag(sealed.subarray(nonceBytes + storeKeyBytes))
  const storeKey = new Uint8Array(decipher.update(sealed.subarray(nonceBytes, nonceBytes + storeKeyBytes)))
  try {
    decipher.final()
  } catch (cause) {
    throw wrong(cause)
  }
  return storeKey
}

export interface StoreKeySource {
  readonly env: Pick<Env, 'clock' | 'random' | 'timers'>
  readonly monitor: Pick<MonitorClient, 'command'>
  /** The cluster's key. */
  readonly secret: Uint8Array | undefined
}

/** Draws the key of a store that is to be made; resolves when the monitors have it. May be repeated after a crash. */
export async function makeStoreKey(source: StoreKeySource, uuid: string): Promise<Uint8Array> {
  const { env } = source
  const secret = needSecret(source.secret)
  const storeKey = env.random.bytes(storeKeyBytes)
  const val = sealStoreKey(env.random, secret, uuid, storeKey)
  try {
    await patiently(source, { prefix: 'config-key set', key: storeKeyName(uuid), val, exclusive: true })
    return storeKey
  } catch (error) {
    // Of a start that ended before there was a store.
    if (isClusterError(error, 'EEXIST')) return fetchStoreKey(source, uuid)
    throw error
  }
}

/** Throws EACCES when the monitors have none, or one that does not open. */
export async function fetchStoreKey(source: StoreKeySource, uuid: string): Promise<Uint8Array> {
  const secret = needSecret(source.secret)
  try {
    const { value } = await patiently(source, { prefix: 'config-key get', key: storeKeyName(uuid) })
    return openStoreKey(secret, uuid, String(value))
  } catch (error) {
    if (!isClusterError(error, 'ENOENT')) throw error
    throw new ClusterError('EACCES', `the monitors have no key for the encrypted store ${uuid}`, {
      cause: error,
      hint: restoreHint,
    })
  }
}

/** Waits for monitors that are electing, or that have just started, too. */
async function patiently({ env, monitor }: StoreKeySource, command: MonitorCommand): Promise<{ value?: unknown }> {
  const endMs = env.clock.monotonicMs() + patienceMs
  for (;;) {
    try {
      return ((await monitor.command(command)).data ?? {}) as { value?: unknown }
    } catch (error) {
      const passing = isClusterError(error) && (error.retry || error.outcome === 'unknown')
      if (!passing || env.clock.monotonicMs() > endMs) throw error
    }
    await new Promise<void>((resolve) => env.timers.after(pauseMs, resolve))
  }
}

function needSecret(secret: Uint8Array | undefined): Uint8Array {
  if (secret !== undefined) return secret
  throw new ClusterError('EINVAL', 'an encrypted store needs a cluster with a key: its own is sealed with that', {
    hint: 'shoal auth create, or name the keyring',
  })
}

function sealingKey(secret: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), utf8Encode('shoal store keys'), 32))
}
