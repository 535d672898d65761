/**
 * Who follows the maps and the configuration, and how far each has been told. A slow subscriber costs one flag: what it
 * misses stays in the history, and it is told in pages once it has drained.
 *
 * Invariant 1: a subscriber that is told of nothing more has the values that the configuration has for it.
 */
import { type ClusterError, type Epoch, encode } from '@shoal/base'
import { monitorMapCodec, type OsdMap, osdMapCodec } from '@shoal/cluster-map'
import {
  type EffectiveConfig,
  effectiveConfigCodec,
  type MapUpdate,
  type Quorum,
  type SubscribeRequest,
  type Subscriber,
  type SubscriberSession,
} from '@shoal/monitor-client'
import { effectiveConfig } from '../services/effective-config.ts'
import type { ClusterState } from '../state/cluster-state.ts'

/** Incrementals in one update. */
const pageMax = 100

interface Entry {
  readonly entity: string
  readonly host: string
  readonly subscriber: Subscriber
  osdMapEpoch: Epoch
  monitorMapEpoch: number
  quorum: Quorum | undefined
  config: ToldConfig | undefined
  blocked: boolean
}

/** What a subscriber was told, and what that was made of: compared by identity. */
interface ToldConfig {
  readonly stored: unknown
  readonly crush: OsdMap['crush']
  readonly values: EffectiveConfig['values']
}

export class Subscriptions {
  private readonly state: ClusterState
  private readonly entries = new Set<Entry>()
  private readonly quorumOf: () => Quorum

  constructor(state: ClusterState, quorumOf: () => Quorum) {
    this.state = state
    this.quorumOf = quorumOf
  }

  get size(): number {
    return this.entries.size
  }

  entities(): readonly string[] {
    return [...this.entries].map((entry) => entry.entity).sort()
  }

  add(request: SubscribeRequest, subscriber: Subscriber): SubscriberSession {
    const entry: Entry = {
      entity: request.entity,
      host: request.host,
      subscriber,
      osdMapEpoch: request.osdMapEpoch,
      monitorMapEpoch: request.monitorMapEpoch,
      quorum: undefined,
      config: undefined,
      blocked: false,
    }
    this.entries.add(entry)
    this.tell(entry)
    return {
      cancel: () => void this.entries.delete(entry),
      drained: () => {
        entry.blocked = false
        this.tell(entry)
      },
    }
  }

  /** The state, the leader or the term changed: everybody is told what is new to them. */
  notify(): void {
    for (const entry of this.entries) this.tell(entry)
  }

  endAll(reason: ClusterError): void {
    const entries = [...this.entries]
    this.entries.clear()
    for (const entry of entries) entry.subscriber.end(reason)
  }

  private tell(entry: Entry): void {
    while (!entry.blocked && this.entries.has(entry)) {
      const update = this.nextUpdate(entry)
      if (update === undefined) return
      entry.blocked = !entry.subscriber.update(update)
    }
  }

  private nextUpdate(entry: Entry): MapUpdate | undefined {
    const { monitorMap, osdMaps } = this.state
    // A monitor that has not learned the state yet has nothing to tell.
    if (osdMaps.last === 0) return undefined
    let osdMapFull: Uint8Array | undefined
    let osdMapIncrementals: readonly Uint8Array[] = []
    if (entry.osdMapEpoch < osdMaps.last) {
      const page = entry.osdMapEpoch === 0 ? undefined : osdMaps.incrementalsAfter(entry.osdMapEpoch, pageMax)
      if (page === undefined) {
        osdMapFull = encode(osdMapCodec, osdMaps.map)
        entry.osdMapEpoch = osdMaps.last
      } else {
        osdMapIncrementals = page
        entry.osdMapEpoch = (entry.osdMapEpoch + page.length) as Epoch
      }
    }
    let monitors: Uint8Array | undefined
    if (entry.monitorMapEpoch < monitorMap.epoch) {
      monitors = encode(monitorMapCodec, monitorMap)
      entry.monitorMapEpoch = monitorMap.epoch
    }
    const present = this.quorumOf()
    const known = entry.quorum
    const quorum = known?.term === present.term && known.leaderId === present.leaderId ? undefined : present
    entry.quorum = present
    const config = this.nextConfig(entry)
    const nothing = osdMapFull === undefined && osdMapIncrementals.length === 0 && config === undefined
    if (nothing && monitors === undefined && quorum === undefined) return undefined
    return { osdMapFull, osdMapIncrementals, monitorMap: monitors, quorum, config }
  }

  /** Its values, if they are others than it was told. */
  private nextConfig(entry: Entry): Uint8Array | undefined {
    const { operations, osdMap } = this.state
    const told = entry.config
    if (told !== undefined && told.stored === operations?.config && told.crush === osdMap.crush) return undefined
    const config = effectiveConfig(operations, osdMap, entry.entity, entry.host)
    if (config === undefined) return undefined
    entry.config = { stored: operations?.config, crush: osdMap.crush, values: config.values }
    return sameValues(told?.values, config.values) ? undefined : encode(effectiveConfigCodec, config)
  }
}

function sameValues(told: EffectiveConfig['values'] | undefined, now: EffectiveConfig['values']): boolean {
  return (
    told?.length === now.length &&
    now.every(({ name, value, from }, at) => {
      const before = told[at]
      return before?.name === name && before.value === value && before.from === from
    })
  )
}
