import { type Epoch, Prng } from '@shoal/base'
import { type MapUpdate, MemoryAdminTransport, type MonitorService, type Subscriber } from '@shoal/monitor-client'
import { SimNetwork, SimTime, trueClock } from '@shoal/testkit'
import { expect, it } from 'vitest'
import { SimMonitorNetwork } from '../../src/cluster/monitor-network.ts'
import { Trace } from '../../src/trace.ts'

const update: MapUpdate = {
  osdMapFull: undefined,
  osdMapIncrementals: [],
  monitorMap: undefined,
  quorum: undefined,
  config: undefined,
}

it('a subscriber that is held back behind answers to something else hears again once there is room', async () => {
  const time = new SimTime()
  const admin = new MemoryAdminTransport()
  const monitors = new SimMonitorNetwork(time, new SimNetwork(time, new Prng(1)), admin, new Trace())
  const endpoint = (host: string) => ({ host, scope: time.scope(0, trueClock) })
  let subscriber: Subscriber | undefined
  let drained = 0
  // Answers wait until the test lets them go.
  const answers: (() => void)[] = []
  const service: MonitorService = {
    command: () => Promise.reject(new Error('not asked for')),
    report: () => Promise.resolve(),
    osdMap: () => new Promise((resolve) => answers.push(() => resolve(new Uint8Array(1)))),
    subscribe: (_request, told) => {
      subscriber = told
      return { cancel: () => undefined, drained: () => drained++ }
    },
    consensus: () => undefined,
  }
  const handlers = {} as Parameters<MemoryAdminTransport['serve']>[1]
  await time.settle(monitors.transport(endpoint('mon-a')).serve('mon-a:6789' as never, service, handlers))
  const connection = monitors.transport(endpoint('osd-0')).connect('mon-a:6789' as never)
  let updates = 0
  const request = { entity: 'osd.0', host: '', osdMapEpoch: 0 as Epoch, monitorMapEpoch: 0 }
  connection.subscribe(request, { onUpdate: () => updates++, onEnd: () => undefined })
  const maps = Array.from({ length: 16 }, (_, i) => connection.osdMap(i as Epoch, 60_000))
  await time.until(() => answers.length === maps.length)
  // Answers on the way before the update, and behind it.
  for (const answer of answers.splice(0, 8)) answer()
  await Promise.resolve()
  await Promise.resolve()
  expect(subscriber?.update(update)).toBe(false)
  for (const answer of answers) answer()
  await time.settle(Promise.all(maps))
  await time.advance(10)
  expect([updates, drained]).toEqual([1, 1])
})
