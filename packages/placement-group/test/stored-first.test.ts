/** What a shard tells in peering is on stable storage; a copy tells at once. */
import { osdId, type PgId, shardPgId } from '@shoal/base'
import { expect, test } from 'vitest'
import { defaultPgSettings, PgCore } from '../src/core.ts'
import type { PgEffect } from '../src/effects.ts'
import { RollbackLog } from '../src/erasure/rollback-log.ts'
import { memberOf } from '../src/member.ts'
import { MissingSet } from '../src/missing-set.ts'
import { ObjectTransfer } from '../src/object-transfer.ts'
import { openEnvelope } from '../src/peer-message.ts'
import { PgLog } from '../src/pg-log.ts'
import { Replica } from '../src/replica.ts'
import { MapAuthority, placeSimulated, simulatedPg } from './simulation/map-authority.ts'
import { entry, epoch, info, osds, version } from './support.ts'

const asker = osdId(1)

function copyOf(pgId: PgId, rollback: RollbackLog | undefined): PgCore {
  const { map } = new MapAuthority({ osds: 2, size: 2, minSize: 1, onEpoch: () => {} })
  const core = new PgCore({
    pgId,
    whoami: osdId(0),
    settings: defaultPgSettings,
    leases: { heldUntilMs: () => 0, want: () => {}, isLate: () => false, grantedUntilMs: () => 0 },
    space: { admits: () => true, hasRoomFor: () => true, isBackfillFull: false, roomBytes: 1e9, onRoom: () => {} },
    clock: { monotonicMs: () => 0, wallMs: () => 0 },
    info: info({ started: 1 }),
    log: new PgLog(version("0'0"), []),
    missing: new MissingSet(),
    rollback,
    pastIntervals: [],
    interval: {
      mapEpoch: map.epoch,
      since: epoch(1),
      up: osds(0, 1),
      acting: osds(0, 1),
      upPrimary: asker,
      actingPrimary: asker,
      incarnations: [],
    },
  })
  core.map = map
  core.mapping = { ...placeSimulated(map), acting: osds(0, 1), actingPrimary: asker }
  return core
}

function told(effects: readonly PgEffect[]): readonly unknown[] {
  return effects.flatMap((effect) =>
    effect.kind === 'send' && effect.message.type === 'pg' ? [openEnvelope(effect.message)] : [],
  )
}

function transactions(effects: readonly PgEffect[]): readonly number[] {
  return effects.flatMap((effect) => (effect.kind === 'transact' ? [effect.token] : []))
}

test('a shard tells of a write when it has stored it, and not before', () => {
  const shard = shardPgId(simulatedPg, 0)
  const core = copyOf(shard, new RollbackLog(shard, []))
  const replica = new Replica(core, new ObjectTransfer(core, []))
  for (const name of ["modify 1'1 a", "modify 1'2 b"]) core.transact([core.appendLog([entry(name)])])
  const [first, second] = transactions(core.takeEffects()) as [number, number]
  replica.sendInfo(memberOf(asker, 1))
  expect(told(core.takeEffects())).toEqual([])
  core.answer(first, { kind: 'committed', token: first })
  expect(told(core.takeEffects())).toEqual([])
  core.answer(second, { kind: 'committed', token: second })
  expect(told(core.takeEffects())).toMatchObject([{ kind: 'info', info: { lastUpdate: version("1'2") } }])
  replica.sendInfo(memberOf(asker, 1))
  expect(told(core.takeEffects())).toHaveLength(1)
})

test('what an earlier interval was asked is not answered in a later one', () => {
  const shard = shardPgId(simulatedPg, 0)
  const core = copyOf(shard, new RollbackLog(shard, []))
  const replica = new Replica(core, new ObjectTransfer(core, []))
  core.transact([core.appendLog([entry("modify 1'1 a")])])
  const [token] = transactions(core.takeEffects()) as [number]
  replica.sendInfo(memberOf(asker, 1))
  core.interval = { ...core.interval, since: epoch(2) }
  core.answer(token, { kind: 'committed', token })
  expect(told(core.takeEffects())).toEqual([])
})

test('a copy tells at once: one of it is enough', () => {
  const core = copyOf(simulatedPg, undefined)
  const replica = new Replica(core, new ObjectTransfer(core, []))
  core.transact([core.appendLog([entry("modify 1'1 a")])])
  replica.sendInfo(asker)
  expect(told(core.takeEffects())).toMatchObject([{ kind: 'info', info: { lastUpdate: version("1'1") } }])
})
