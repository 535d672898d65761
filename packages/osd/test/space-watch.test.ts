/** What an OSD thinks of its room, and of what it has been told of others'. */
import { type OsdId, osdId, type PgId } from '@shoal/base'
import { createOsdMap, type OsdMap } from '@shoal/cluster-map'
import { emptyCrushMap } from '@shoal/crush'
import type { ObjectStore } from '@shoal/object-store'
import { writeOverheadBytes } from '@shoal/placement-group'
import { makeSimEnv } from '@shoal/testkit'
import { headSnap, type Transaction } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import { SpaceWatch } from '../src/space-watch.ts'

const total = 1_000_000_000
const self = osdId(0)
const peer = osdId(1)
const base: OsdMap = createOsdMap('f', emptyCrushMap(), 0)
const up = { up: true } as never
const map: OsdMap = { ...base, osds: new Map([[peer, up]]) }

function write(length: number): Transaction {
  const object = { pool: 1 as never, hash: 1, namespace: '', name: 'a', snap: headSnap }
  return { ops: [{ kind: 'write', collection: '1.0' as PgId, object, offset: 0, data: new Uint8Array(length) }] }
}

function setUp(usedBytes: number, peers = 1) {
  const state = { usedBytes, clientBytes: 0, measured: 0 }
  const usage = () => {
    state.measured++
    return { totalBytes: total, usedBytes: state.usedBytes, freeBytes: total - state.usedBytes, metadataBytes: 0 }
  }
  const { env } = makeSimEnv({ seed: 1 })
  const space = new SpaceWatch(env, { usage } as unknown as ObjectStore, {
    whoami: self,
    settings: { osd_failsafe_full_ratio: 0.97 },
    clientBytes: () => state.clientBytes,
  })
  space.onMap(map, peers)
  const admits = (...osds: OsdId[]): boolean => space.admits(osds, 0)
  return { space, state, admits }
}

describe('space', () => {
  it('has a limit for backfill, one for clients and one for recovery', () => {
    const at = (share: number) => {
      const { space, state, admits } = setUp(total * share)
      state.clientBytes = 1
      return [!space.isBackfillFull, admits(self), space.hasRoomFor(1)]
    }
    expect(at(0.89)).toEqual([true, true, true])
    expect(at(0.91)).toEqual([false, true, true])
    expect(at(0.951)).toEqual([false, false, true])
    expect(at(0.975)).toEqual([false, false, false])
  })

  it('counts what is submitted until it is durable and measured', () => {
    const { space, state, admits } = setUp(total * 0.949)
    state.clientBytes = 1
    const onDurable = space.onSubmit(write(2_000_000))
    expect(admits(self)).toBe(false)
    onDurable()
    // The store has found room for less than was feared.
    state.usedBytes += 100_000
    expect(admits(self)).toBe(true)
    expect(space.summary().pendingBytes).toBe(0)
  })

  it('asks whether all that clients have under way fits, not one write after the other', () => {
    const { state, admits } = setUp(total * 0.949)
    state.clientBytes = 900_000
    expect(admits(self)).toBe(true)
    state.clientBytes = 1_100_000
    expect(admits(self)).toBe(false)
  })

  it('tells each peer its part of half of the room', () => {
    const { space } = setUp(total * 0.75, 4)
    expect(space.roomBytes).toBe((total * 0.2) / 8)
    const { space: full } = setUp(total * 0.99, 4)
    expect(full.roomBytes).toBe(0)
  })

  it('refuses what a member has no room for, until it tells otherwise or is down', () => {
    const { space, state, admits } = setUp(0)
    state.clientBytes = 100
    expect(admits(self, peer)).toBe(true)
    space.onRoom(peer, 99)
    expect([admits(self, peer), admits(self)]).toEqual([false, true])
    space.onRoom(peer, 100)
    expect(admits(self, peer)).toBe(true)
    expect(space.admits([peer], 101)).toBe(false)
    space.onRoom(peer, 0)
    space.onMap({ ...map, osds: new Map() }, 1)
    expect(admits(self, peer)).toBe(true)
  })

  it('does not measure with every write while there is room', () => {
    const { space, state, admits } = setUp(total * 0.5)
    for (let i = 0; i < 1_000; i++) {
      space.onSubmit(write(4_096))()
      expect(admits(self)).toBe(true)
    }
    expect(state.measured).toBeLessThan(5)
    expect(1_000 * (4_096 + writeOverheadBytes)).toBeLessThan(total * 0.45)
  })
})
