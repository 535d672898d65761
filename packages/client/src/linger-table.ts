/** What lives on at the primary of an object after its operation was answered: who is to be told of events, and of changes of primary. */
import { type PoolId, pgId as toPgId } from '@shoal/base'
import { hashObjectName, type PlacementCache, seedOfHash } from '@shoal/cluster-map'
import type { WatchEvent } from '@shoal/wire'

export interface LingerHandlers {
  readonly onEvent: (event: WatchEvent) => void
  /** Its primary may have lost it, or is another one now. */
  readonly onDisturbed: () => void
  readonly onClosed: () => void
}

export interface LingerPlace {
  readonly pool: number
  readonly namespace: string
  readonly name: string
}

interface Linger extends LingerHandlers {
  readonly place: LingerPlace
  /** Placement group, members and run of the primary; another one when any of them changed. */
  placed: string
  primary: number
}

export class LingerTable {
  private readonly lingers = new Map<number, Linger>()
  private readonly placement: () => PlacementCache
  private nextCookie = 1

  constructor(placement: () => PlacementCache) {
    this.placement = placement
  }

  /** Returns the cookie by which events name it. */
  add(place: LingerPlace, handlers: LingerHandlers): number {
    const cookie = this.nextCookie++
    this.lingers.set(cookie, { ...handlers, place, ...this.locate(place) })
    return cookie
  }

  delete(cookie: number): void {
    this.lingers.delete(cookie)
  }

  onEvent(event: WatchEvent): void {
    this.lingers.get(event.cookie)?.onEvent(event)
  }

  onMap(): void {
    for (const linger of [...this.lingers.values()]) {
      const { placed, primary } = this.locate(linger.place)
      if (placed === linger.placed) continue
      linger.placed = placed
      linger.primary = primary
      linger.onDisturbed()
    }
  }

  onReset(osd: number): void {
    for (const linger of [...this.lingers.values()]) if (linger.primary === osd) linger.onDisturbed()
  }

  close(): void {
    for (const linger of [...this.lingers.values()]) linger.onClosed()
  }

  private locate({ pool, namespace, name }: LingerPlace): { readonly placed: string; readonly primary: number } {
    const placement = this.placement()
    const found = placement.map.pools.get(pool as PoolId)
    if (found === undefined) return { placed: 'nowhere', primary: -1 }
    const pgId = toPgId(found.id, seedOfHash(found, hashObjectName(namespace, name)))
    const { acting, actingPrimary } = placement.mapping(pgId)
    const run = placement.map.osds.get(actingPrimary)?.incarnation ?? 0
    return { placed: `${pgId} ${acting.join(',')} ${actingPrimary} ${run}`, primary: actingPrimary }
  }
}
