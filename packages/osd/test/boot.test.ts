import type { Epoch, OsdId } from '@shoal/base'
import type { OsdFlag, OsdInfo, OsdMap } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { BootMachine } from '../src/boot.ts'

const me = 2 as OsdId

function mapWith(epoch: number, up: boolean, incarnation: number, flags: readonly OsdFlag[] = []): OsdMap {
  const info = { id: me, up, incarnation } as OsdInfo
  return { epoch: epoch as Epoch, flags: new Set(flags), osds: new Map([[me, info]]) } as Partial<OsdMap> as OsdMap
}

describe('boot', () => {
  it('repeats the boot, ever slower, until a map shows this run up', () => {
    const boot = new BootMachine(me, 11, () => 5)
    const map = mapWith(1, false, 10)
    const sent: number[] = []
    for (let nowMs = 0; nowMs < 20_000; nowMs += 500) {
      if (boot.poll(map, nowMs, true) !== undefined) sent.push(nowMs)
    }
    expect(sent).toEqual([0, 1_000, 3_000, 7_000, 12_000, 17_000])
    expect(boot.onMap(mapWith(2, true, 11), 20_000)).toEqual({ kind: 'became-up' })
    expect(boot.poll(mapWith(2, true, 11), 30_000, true)).toBeUndefined()
  })

  it('boots again at once when the monitors have ended its former run', () => {
    const boot = new BootMachine(me, 11, () => 5)
    for (const nowMs of [0, 1_000, 3_000]) boot.poll(mapWith(1, true, 10), nowMs, true)
    boot.onMap(mapWith(1, true, 10), 3_000)
    boot.onMap(mapWith(2, false, 10), 3_100)
    expect(boot.poll(mapWith(2, false, 10), 3_100, true)).toEqual({ kind: 'send-boot' })
  })

  it('waits while noup is set and while its peers do not answer', () => {
    const boot = new BootMachine(me, 11, () => 5)
    expect(boot.poll(mapWith(1, false, 0, ['noup']), 0, true)).toBeUndefined()
    expect(boot.poll(mapWith(1, false, 0), 0, false)).toBeUndefined()
    expect(boot.poll(mapWith(1, false, 0), 0, true)).toEqual({ kind: 'send-boot' })
  })

  it('comes back when marked down by mistake, with a growing pause when that happens too often', () => {
    const boot = new BootMachine(me, 11, () => 2)
    const pauses: number[] = []
    let epoch = 1
    for (let round = 0; round < 5; round++) {
      const nowMs = round * 1_000
      boot.onMap(mapWith(epoch++, true, 11), nowMs)
      const action = boot.onMap(mapWith(epoch++, false, 11), nowMs)
      if (action?.kind === 'marked-down') pauses.push(action.pauseMs)
    }
    expect(pauses).toEqual([0, 0, 5_000, 10_000, 20_000])
    expect(boot.poll(mapWith(epoch, false, 11), 4_000, true)).toBeUndefined()
    expect(boot.poll(mapWith(epoch, false, 11), 24_000, true)).toEqual({ kind: 'send-boot' })
  })

  it('is silent after its goodbye', () => {
    const boot = new BootMachine(me, 11, () => 5)
    boot.onMap(mapWith(1, true, 11), 0)
    boot.stop()
    expect(boot.onMap(mapWith(2, false, 11), 10)).toBeUndefined()
    expect(boot.poll(mapWith(2, false, 11), 10_000, true)).toBeUndefined()
  })
})
