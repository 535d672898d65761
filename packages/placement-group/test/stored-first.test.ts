/** What a shard tells in peering is on stable storage; a copy tells at once. */
import { osdId, shardPgId } from '@shoal/base'
import { expect, test } from 'vitest'
import type { PgEffect } from '../src/effects.ts'
import { memberOf } from '../src/member.ts'
import { ObjectTransfer } from '../src/object-transfer.ts'
import { openEnvelope } from '../src/peer-message.ts'
import { Replica } from '../src/replica.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { coreOf, entry, epoch, version } from './support.ts'

const asker = osdId(1)

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
  const core = coreOf(shard)
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
  const core = coreOf(shard)
  const replica = new Replica(core, new ObjectTransfer(core, []))
  core.transact([core.appendLog([entry("modify 1'1 a")])])
  const [token] = transactions(core.takeEffects()) as [number]
  replica.sendInfo(memberOf(asker, 1))
  core.interval = { ...core.interval, since: epoch(2) }
  core.answer(token, { kind: 'committed', token })
  expect(told(core.takeEffects())).toEqual([])
})

test('a copy tells at once: one of it is enough', () => {
  const core = coreOf(simulatedPg)
  const replica = new Replica(core, new ObjectTransfer(core, []))
  core.transact([core.appendLog([entry("modify 1'1 a")])])
  replica.sendInfo(asker)
  expect(told(core.takeEffects())).toMatchObject([{ kind: 'info', info: { lastUpdate: version("1'1") } }])
})
