/** Branded identifiers: plain numbers and strings at run time, distinct types to the compiler. */
declare const brand: unique symbol
export type Branded<T, Name extends string> = T & { readonly [brand]: Name }

export type OsdId = Branded<number, 'OsdId'>
export type PoolId = Branded<number, 'PoolId'>
/** Version of the OSD map. 0 means "none yet". */
export type Epoch = Branded<number, 'Epoch'>

export const osdId = (value: number): OsdId => value as OsdId
export const poolId = (value: number): PoolId => value as PoolId
export const epoch = (value: number): Epoch => value as Epoch

/** A placement group as people and maps name it: `POOL.SEED`, the seed in hexadecimal, e.g. `2.1f`. */
export type PgId = Branded<string, 'PgId'>

export function pgId(pool: PoolId, seed: number): PgId {
  return `${pool}.${seed.toString(16)}` as PgId
}

/** Undefined when the text is no PG id. */
export function parsePgId(text: string): { readonly pool: PoolId; readonly seed: number } | undefined {
  const match = /^(\d+)\.([0-9a-f]{1,8})$/.exec(text)
  if (match === null) return undefined
  return { pool: poolId(Number(match[1])), seed: Number.parseInt(match[2] as string, 16) }
}

export function pgPool(id: PgId): PoolId {
  return poolId(Number(id.slice(0, id.indexOf('.'))))
}

export function pgSeed(id: PgId): number {
  return Number.parseInt(id.slice(id.indexOf('.') + 1), 16)
}

/** The share of one member of an erasure-coded PG, `1.fs2` for shard 2 of `1.f` (Ceph's spg_t): a collection of its own. */
export function shardPgId(id: PgId, shard: number): PgId {
  return `${wholePgId(id)}s${shard}` as PgId
}

/** Undefined for a PG as a whole. */
export function pgShard(id: PgId): number | undefined {
  const at = id.indexOf('s')
  return at < 0 ? undefined : Number(id.slice(at + 1))
}

/** The PG that a share belongs to; a whole one as it is. */
export function wholePgId(id: PgId): PgId {
  const at = id.indexOf('s')
  return at < 0 ? id : (id.slice(0, at) as PgId)
}

/** A daemon or client by kind and name: `mon.a`, `osd.3`, `client.4711`. */
export type EntityName = Branded<string, 'EntityName'>

export function entityName(kind: 'mon' | 'osd' | 'client', id: string | number): EntityName {
  return `${kind}.${id}` as EntityName
}

/** A TCP endpoint, `HOST:PORT` (an IPv6 host stands in brackets); to listen on, also `unix:PATH`. */
export type Address = Branded<string, 'Address'>

export const address = (text: string): Address => text as Address

/** Undefined when the text is no `HOST:PORT` with a port from 0 to 65535. */
export function parseAddress(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const port = Number(match[3])
  return port > 65535 ? undefined : { host: (match[1] ?? match[2]) as string, port }
}
