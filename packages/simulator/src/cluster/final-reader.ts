/** Reads everything back once the cluster is clean: through a client, and from each OSD's store underneath it. */
import { emptyBytes, isClusterError, must, type PgId, pgId, shardPgId } from '@shoal/base'
import { PlacementCache, poolByName } from '@shoal/cluster-map'
import type { OsdStore } from '@shoal/osd'
import type { ObjectId, OmapEntry } from '@shoal/wire'
import type { FinalObject, FinalReader, ReplicaCopy, StoredCopy } from '../history.ts'
import type { SimCluster } from './sim-cluster.ts'

const pageMax = 1_000
const lengthMax = 64 * 1024 * 1024

export class ClusterReader implements FinalReader {
  private readonly cluster: SimCluster
  private readonly maySpoil: (osd: string) => boolean
  private last: Promise<unknown> = Promise.resolve()

  /** `maySpoil`: this OSD's disk rots or lies. What cannot be read there is left out of all copies of its group. */
  constructor(cluster: SimCluster, maySpoil: (osd: string) => boolean) {
    this.cluster = cluster
    this.maySpoil = maySpoil
  }

  read(pool: string, object: string, snap?: number): Promise<FinalObject | undefined> {
    return this.inTurn(() => this.readNow(pool, object, snap))
  }

  list(pool: string): Promise<readonly string[] | undefined> {
    return this.inTurn(() => this.listNow(pool))
  }

  replicas(pool: string): Promise<readonly ReplicaCopy[]> {
    return this.inTurn(() => this.replicasNow(pool))
  }

  /** Readers may ask for several things at once; one at a time drives the time. */
  private inTurn<T>(read: () => Promise<T>): Promise<T> {
    const result = this.last.then(() => this.cluster.time.settle(read()))
    this.last = result.catch(() => undefined)
    return result
  }

  private get process() {
    return must(this.cluster.operator.daemon, 'a connected operator')
  }

  private async readNow(pool: string, object: string, snap: number | undefined): Promise<FinalObject | undefined> {
    const head = this.process.client.pool(pool)
    const handle = snap === undefined ? head : head.at(snap)
    try {
      const { results } = await handle.execute(object, [
        { kind: 'stat' },
        { kind: 'read', offset: 0, length: lengthMax },
        { kind: 'get-xattrs' },
        { kind: 'omap-get-header' },
      ])
      const [stat, data, xattrs, header] = results
      const omap: OmapEntry[] = []
      for await (const entry of handle.omap(object)) omap.push(entry)
      return {
        data: data?.kind === 'data' ? data.data : emptyBytes,
        xattrs: xattrs?.kind === 'xattrs' ? xattrs.xattrs : new Map(),
        omapHeader: header?.kind === 'data' ? header.data : emptyBytes,
        omap,
        version: stat?.kind === 'stat' ? stat.version : 0,
      }
    } catch (error) {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    }
  }

  private async listNow(pool: string): Promise<readonly string[] | undefined> {
    const names: string[] = []
    try {
      for await (const name of this.process.client.pool(pool).list()) names.push(name)
    } catch (error) {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    }
    return names
  }

  private async replicasNow(pool: string): Promise<readonly ReplicaCopy[]> {
    const map = must(this.process.monitor.osdMap, 'a map')
    const found = poolByName(map, pool)
    if (found === undefined) return []
    const placement = new PlacementCache(map)
    const copies: ReplicaCopy[] = []
    for (let seed = 0; seed < found.pgNum; seed++) {
      const id = pgId(found.id, seed)
      const unreadable = new Set<string>()
      for (const [place, osd] of placement.mapping(id).acting.entries()) {
        const collection = found.type === 'erasure' ? shardPgId(id, place) : id
        const node = this.cluster.osds.find((one) => one.id === osd)
        // The store is the daemon's own; the simulator alone looks behind it.
        const store = (node?.daemon as unknown as { readonly store: OsdStore } | undefined)?.store
        if (store?.hasCollection(collection) !== true) continue
        copies.push({
          pgId: id,
          osd,
          ...(found.type === 'erasure' ? { shard: place } : {}),
          objects: await copyOf(store, collection, this.maySpoil(`osd.${osd}`) ? unreadable : undefined),
          unreadable,
        })
      }
      for (const copy of copies) {
        if (copy.pgId === id) for (const key of unreadable) (copy.objects as Map<string, StoredCopy>).delete(key)
      }
    }
    return copies
  }
}

async function copyOf(
  store: OsdStore,
  collection: PgId,
  unreadable: Set<string> | undefined,
): Promise<ReadonlyMap<string, StoredCopy>> {
  const objects = new Map<string, StoredCopy>()
  let after: ObjectId | undefined
  for (let more = true; more; ) {
    const page = await store.list(collection, after, pageMax)
    for (const object of page.objects) {
      const key = JSON.stringify(object)
      try {
        objects.set(key, await readCopy(store, collection, object))
      } catch (error) {
        if (unreadable === undefined || !isClusterError(error, 'ECHECKSUM')) throw error
        unreadable.add(key)
      }
    }
    after = page.objects.at(-1)
    more = page.more && after !== undefined
  }
  return objects
}

async function readCopy(store: OsdStore, collection: PgId, object: ObjectId): Promise<StoredCopy> {
  const stat = await store.stat(collection, object)
  const omap: OmapEntry[] = []
  for (let more = true; more; ) {
    const page = await store.omapEntries(collection, object, {
      after: omap.at(-1)?.key,
      prefix: emptyBytes,
      limit: pageMax,
    })
    omap.push(...page.entries)
    more = page.more
  }
  return {
    data: await store.read(collection, object, 0, stat?.sizeBytes ?? 0),
    xattrs: await store.xattrs(collection, object),
    omapHeader: await store.omapHeader(collection, object),
    omap,
  }
}
