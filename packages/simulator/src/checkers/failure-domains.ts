/**
 * Exceptions from CRUSH, whoever made them, keep copies of one placement group in different failure domains. Judged from
 * the map alone and in another way than the balancer judges: by the ancestors of the OSDs.
 */
import { noOsd, type OsdMap, PlacementCache } from '@shoal/cluster-map'
import type { Violation } from '../history.ts'

export class FailureDomainChecker {
  readonly violations: Violation[] = []
  private readonly domain: string
  private newestEpoch = 0

  /** A CRUSH type; nothing can go wrong with `osd`. */
  constructor(domain: string) {
    this.domain = domain
  }

  observe(map: OsdMap): void {
    if (map.epoch <= this.newestEpoch || this.domain === 'osd') return
    this.newestEpoch = map.epoch
    if (map.upmapItems.size === 0 && map.upmap.size === 0) return
    const placement = new PlacementCache(map)
    for (const id of new Set([...map.upmap.keys(), ...map.upmapItems.keys()])) {
      const osds = placement.placed(id).filter((osd) => osd !== noOsd)
      const domains = osds.map((osd) => ancestor(map, osd, this.domain))
      if (new Set(domains).size === osds.length) continue
      const message = `osdmap ${map.epoch} places ${id} on [${osds.join(',')}], two of them on one ${this.domain}`
      this.violations.push({ checker: 'failure-domains', message, details: { items: map.upmapItems.get(id) } })
    }
  }
}

/** The nearest bucket of a type above an OSD; the copies of the tree for device classes (`NAME~CLASS`) do not count. */
function ancestor({ crush }: OsdMap, osd: number, type: string): number | undefined {
  for (let id = osd; ; ) {
    const above = crush.buckets.find(
      (bucket) => bucket?.items.includes(id) === true && crush.names.get(bucket.id)?.includes('~') === false,
    )
    if (above === undefined || crush.types.get(above.type) === type) return above?.id
    id = above.id
  }
}
