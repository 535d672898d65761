/** Lease and promise belong together: an OSD holds only what its peer has promised, whatever maps the two have. */
import { type Address, type Epoch, must, type OsdId } from '@shoal/base'
import { createOsdMap, type OsdInfo, type OsdMap } from '@shoal/cluster-map'
import { emptyCrushMap } from '@shoal/crush'
import { SimWorld } from '@shoal/testkit'
import { expect, it } from 'vitest'
import { HeartbeatService } from '../src/heartbeat-service.ts'
import { LeaseTable } from '../src/lease-table.ts'
import { PerfCounters } from '../src/perf-counters.ts'

const fsid = '6f1a2b3c-0000-4000-8000-00000000000f'
const [first, second] = [0 as OsdId, 1 as OsdId]

it('holds no lease of a peer whose map does not show it up yet', async () => {
  const world = new SimWorld({ seed: 3 })
  const addresses: Address[] = []
  const leases = [new LeaseTable(1_500, undefined), new LeaseTable(1_500, undefined)]
  const services: HeartbeatService[] = []
  for (const whoami of [first, second]) {
    const env = world.machine(`host-${whoami}`).start()
    const service = new HeartbeatService(env, {
      whoami,
      incarnation: whoami + 10,
      fsid,
      security: undefined,
      settings: { osd_heartbeat_interval: 0.5, osd_heartbeat_idle_interval: 1.5, osd_heartbeat_grace: 4 },
      counters: new PerfCounters(),
      leases: must(leases[whoami], 'a table'),
      roomBytes: () => 0,
      onRoom: () => undefined,
      onReport: () => undefined,
    })
    services.push(service)
    // Checksums are compiled outside of virtual time.
    addresses.push(await service.start(`host-${whoami}:6800` as Address))
  }
  const mapAt = (epoch: number, firstIsUp: boolean): OsdMap => {
    const osds = [first, second].map((id) => {
      const up = id === second || firstIsUp
      const heartbeat = must(addresses[id], 'an address')
      const info = {
        id,
        up,
        incarnation: id + 10,
        upFrom: id === second ? 2 : 5,
        addresses: { heartbeat, data: heartbeat },
      }
      return [id, info as unknown as OsdInfo] as const
    })
    return { ...createOsdMap(fsid, emptyCrushMap(), 0), epoch: epoch as Epoch, osds: new Map(osds) }
  }
  services[first]?.setPeers(mapAt(5, true), [{ osd: second, incarnation: 11 }])
  services[second]?.setPeers(mapAt(4, false), [])
  await world.time.advance(3_000)
  expect(leases[second]?.grantedUntilMs(first, 9 as Epoch)).toBe(Number.NEGATIVE_INFINITY)
  expect(leases[first]?.heldUntilMs(second)).toBe(Number.NEGATIVE_INFINITY)
  services[second]?.setPeers(mapAt(5, true), [{ osd: first, incarnation: 10 }])
  await world.time.advance(3_000)
  expect(leases[second]?.grantedUntilMs(first, 9 as Epoch)).toBeGreaterThan(0)
  expect(leases[first]?.heldUntilMs(second)).toBeGreaterThan(0)
  await world.time.settle(Promise.all(services.map((service) => service.stop())))
})
