/**
 * The bytes of OSD maps and incrementals: docs/formats/osd-map.md. Fields are only ever appended; `versioned` lets older
 * readers skip them.
 */
import {
  array,
  type ByteReader,
  type ByteWriter,
  boolean,
  type Codec,
  f64,
  map,
  type OsdId,
  oneOf,
  optional,
  type PgId,
  string,
  struct,
  u32,
  u64,
  versioned,
} from '@shoal/base'
import { type CrushMap, decodeCrushMap, encodeCrushMap } from '@shoal/crush'
import {
  type OsdAddresses,
  type OsdFlag,
  type OsdInfo,
  type OsdMap,
  type OsdMapIncremental,
  osdFlags,
  type Pool,
  poolTypes,
  type UpmapItem,
} from './osd-map.ts'
import { poolSnapshotsCodec } from './pool-snapshots.ts'

const addressesCodec: Codec<OsdAddresses> = struct({ data: string(), heartbeat: string(), admin: string() })

export const osdInfoCodec: Codec<OsdInfo> = versioned<OsdInfo>(
  1,
  1,
  'OSD entry',
  struct<OsdInfo>({
    id: u32(),
    uuid: string(),
    up: boolean(),
    weight: u32(),
    autoOut: boolean(),
    primaryAffinity: u32(),
    addresses: optional(addressesCodec),
    incarnation: u64(),
    upFrom: u32(),
    upThru: u32(),
    downAt: u32(),
    lostAt: u32(),
    lastCleanBegin: u32(),
    lastCleanEnd: u32(),
    features: u64(),
    deviceClass: optional(string()),
  }),
)

const plainPoolCodec: Codec<Omit<Pool, 'snapshots'>> = struct<Omit<Pool, 'snapshots'>>({
  id: u64(),
  name: string(),
  type: oneOf(poolTypes),
  size: u32(),
  minSize: u32(),
  pgNum: u32(),
  pgpNum: u32(),
  crushRule: u32(),
  hashPool: boolean(),
  created: u32(),
  lastChange: u32(),
  applications: array(string()),
  options: map(string(), string()),
})

const poolWithoutSnapshots = versioned<Pool>(1, 1, 'pool', plainPoolCodec)
/** Who does not know of snapshots would overwrite them. */
const poolWithSnapshots = versioned<Pool>(2, 2, 'pool', {
  write(writer, pool) {
    plainPoolCodec.write(writer, pool)
    if (pool.snapshots !== undefined) poolSnapshotsCodec.write(writer, pool.snapshots)
  },
  read(reader, version) {
    const pool = plainPoolCodec.read(reader)
    return version < 2 ? pool : { ...pool, snapshots: poolSnapshotsCodec.read(reader) }
  },
})

/** The second version is written only for pools that have, or had, snapshots. */
export const poolCodec: Codec<Pool> = {
  write: (writer, pool) =>
    (pool.snapshots === undefined ? poolWithoutSnapshots : poolWithSnapshots).write(writer, pool),
  read: (reader) => poolWithSnapshots.read(reader),
}

const crushCodec: Codec<CrushMap> = {
  write(writer: ByteWriter, crush: CrushMap) {
    writer.bytes(encodeCrushMap(crush))
  },
  read: (reader: ByteReader) => decodeCrushMap(reader.bytes()),
}

const flagsCodec: Codec<ReadonlySet<OsdFlag>> = {
  write(writer, flags) {
    array(oneOf(osdFlags)).write(writer, [...flags])
  },
  read: (reader) => new Set(array(oneOf(osdFlags)).read(reader)),
}

const osdListCodec = array(u32<OsdInfo['id']>())
const upmapItemsCodec: Codec<readonly UpmapItem[]> = array(struct<UpmapItem>({ from: u32(), to: u32() }))

export const wordsCodec: Codec<readonly string[]> = array(string())
const profilesCodec: Codec<ReadonlyMap<string, readonly string[]>> = map(string(), wordsCodec)

type Appended = 'erasureProfiles' | 'upmapPrimaries'
type PlainMap = Omit<OsdMap, Appended>

const plainMapCodec: Codec<PlainMap> = struct<PlainMap>({
  fsid: string(),
  epoch: u32(),
  createdMs: f64(),
  modifiedMs: f64(),
  flags: flagsCodec,
  osds: map(u32(), osdInfoCodec),
  pools: map(u64(), poolCodec),
  poolIdMax: u64(),
  crush: crushCodec,
  pgTemp: map(string(), osdListCodec),
  primaryTemp: map(string(), u32()),
  upmap: map(string(), osdListCodec),
  upmapItems: map(string(), upmapItemsCodec),
  blocklist: map(string(), f64()),
  nearfullRatio: f64(),
  backfillfullRatio: f64(),
  fullRatio: f64(),
  requiredFeatures: u64(),
})

/**
 * A record with the fields that later versions appended; each version is written only by who needs it. Version 2 has erasure
 * code profiles, and readers of version 1 need none. Version 3 says who is to be primary: a reader that skipped that would
 * take another OSD for the primary, so it must refuse.
 */
function appended<Profiles, Primaries, Plain extends object>(
  what: string,
  plain: Codec<Plain>,
  profiles: Codec<Profiles>,
  primaries: Codec<Primaries>,
): Codec<Plain & { readonly erasureProfiles?: Profiles; readonly upmapPrimaries?: Primaries }> {
  type Whole = Plain & { readonly erasureProfiles?: Profiles; readonly upmapPrimaries?: Primaries }
  const maybeProfiles = optional(profiles)
  const read = (reader: ByteReader, version: number): Whole => {
    const whole = plain.read(reader)
    if (version < 2) return whole
    const erasureProfiles = version < 3 ? profiles.read(reader) : maybeProfiles.read(reader)
    return {
      ...whole,
      ...(erasureProfiles === undefined ? {} : { erasureProfiles }),
      ...(version < 3 ? {} : { upmapPrimaries: primaries.read(reader) }),
    }
  }
  const ofVersion = (version: number, compatible: number): Codec<Whole> =>
    versioned<Whole>(version, compatible, what, {
      write(writer, whole) {
        const { erasureProfiles, upmapPrimaries } = whole
        plain.write(writer, whole)
        if (upmapPrimaries !== undefined) {
          maybeProfiles.write(writer, erasureProfiles)
          primaries.write(writer, upmapPrimaries)
        } else if (erasureProfiles !== undefined) profiles.write(writer, erasureProfiles)
      },
      read,
    })
  const [first, second, third] = [ofVersion(1, 1), ofVersion(2, 1), ofVersion(3, 3)]
  return {
    write(writer, whole) {
      const codec = whole.upmapPrimaries !== undefined ? third : whole.erasureProfiles !== undefined ? second : first
      codec.write(writer, whole)
    },
    read: (reader) => third.read(reader),
  }
}

const primariesCodec: Codec<ReadonlyMap<PgId, OsdId>> = map(string<PgId>(), u32<OsdId>())

export const osdMapCodec: Codec<OsdMap> = appended('OSD map', plainMapCodec, profilesCodec, primariesCodec)

/** An entry that is removed is written as "absent". */
function removable<T>(inner: Codec<T>): Codec<T | null> {
  const codec = optional(inner)
  return {
    write: (writer, value) => codec.write(writer, value ?? undefined),
    read: (reader) => codec.read(reader) ?? null,
  }
}

type PlainIncremental = Omit<OsdMapIncremental, Appended>
type Changes = { readonly [K in keyof PlainIncremental]-?: PlainIncremental[K] | undefined }

const changesCodec: Codec<Changes> = struct<Changes>({
  fsid: string(),
  epoch: u32(),
  modifiedMs: f64(),
  full: optional(osdMapCodec),
  flags: optional(flagsCodec),
  osds: optional(map(u32(), removable(osdInfoCodec))),
  pools: optional(map(u64(), removable(poolCodec))),
  poolIdMax: optional(u64()),
  crush: optional(crushCodec),
  pgTemp: optional(map(string(), removable(osdListCodec))),
  primaryTemp: optional(map(string(), removable(u32()))),
  upmap: optional(map(string(), removable(osdListCodec))),
  upmapItems: optional(map(string(), removable(upmapItemsCodec))),
  blocklist: optional(map(string(), removable(f64()))),
  ratios: optional(struct({ nearfull: f64(), backfillfull: f64(), full: f64() })),
  requiredFeatures: optional(u64()),
})

const plainIncrementalCodec: Codec<PlainIncremental> = {
  write: (writer, incremental) => changesCodec.write(writer, incremental as Changes),
  read(reader) {
    const entries = Object.entries(changesCodec.read(reader)).filter(([, value]) => value !== undefined)
    return Object.fromEntries(entries) as unknown as PlainIncremental
  },
}

export const osdMapIncrementalCodec: Codec<OsdMapIncremental> = appended(
  'OSD map incremental',
  plainIncrementalCodec,
  map(string(), removable(wordsCodec)),
  map(string<PgId>(), removable(u32<OsdId>())),
)
