/** Sources of objects that go away in the middle of an interval: they are not of it, and their answer is not waited for. */
import { errorTable, type OsdId, osdId, type PgId, shardPgId } from '@shoal/base'
import type { OsdInfo } from '@shoal/cluster-map'
import { createErasureCode } from '@shoal/erasure'
import { expect, test } from 'vitest'
import type { PgCore } from '../src/core.ts'
import { ShardTransfer } from '../src/erasure/shard-transfer.ts'
import { memberOf } from '../src/member.ts'
import { ObjectTransfer } from '../src/object-transfer.ts'
import { openEnvelope } from '../src/peer-message.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { coreOf, object, version } from './support.ts'

const thing = object('thing')
const source = osdId(1)

/** Whom the transfer has asked since; what waits for its turn at the disk has it. */
function asked(core: PgCore): readonly (OsdId | string)[] {
  const effects = core.takeEffects()
  for (const effect of effects)
    if (effect.kind === 'admit') core.answer(effect.token, { kind: 'admitted', token: effect.token })
  return [...effects, ...core.takeEffects()].flatMap((effect) =>
    effect.kind === 'send' && effect.message.type === 'pg'
      ? [`${openEnvelope(effect.message).kind} osd.${effect.to % 0x10_0000} ${effect.message.pgId}`]
      : [],
  )
}

function changeOsd(core: PgCore, osd: OsdId, change: Partial<OsdInfo>): void {
  const info = { ...(core.map.osds.get(osd) as OsdInfo), ...change }
  core.map = { ...core.map, osds: new Map(core.map.osds).set(osd, info) }
}

test.each([
  ['goes down', { up: false }],
  ['starts again', { incarnation: 77 }],
])('a copy is pulled from elsewhere when its source %s', (_what, change) => {
  const core = coreOf(simulatedPg)
  const transfer = new ObjectTransfer(core, [])
  const outcomes: number[] = []
  transfer.fetch(thing, version("1'1"), source, (errno) => outcomes.push(errno))
  expect(asked(core)).toHaveLength(1)
  transfer.onMap()
  expect(outcomes).toEqual([])
  changeOsd(core, source, change)
  transfer.onMap()
  expect(outcomes).toEqual([errorTable.EAGAIN.errno])
})

test('a copy is not pulled from who is down when its turn at the disk comes', () => {
  const core = coreOf(simulatedPg)
  const transfer = new ObjectTransfer(core, [])
  const outcomes: number[] = []
  changeOsd(core, source, { up: false })
  transfer.fetch(thing, version("1'1"), source, (errno) => outcomes.push(errno))
  expect([asked(core), outcomes]).toEqual([[], [errorTable.EAGAIN.errno]])
})

test('a shard is made of the others when the one that had it starts again', () => {
  const core = coreOf(shardPgId(simulatedPg, 0))
  const code = createErasureCode({ k: 2, m: 1 })
  const transfer = new ShardTransfer(
    core,
    [],
    () => code,
    () => {},
  )
  const sources = [memberOf(source, 0), memberOf(osdId(0), 1), memberOf(source, 2)]
  transfer.rebuild(thing, version("1'1"), sources, () => {})
  const of = (shard: number): PgId => shardPgId(simulatedPg, shard)
  expect(asked(core)).toEqual([`pull osd.1 ${of(0)}`])
  changeOsd(core, source, { incarnation: 77 })
  transfer.onMap()
  expect(asked(core)).toEqual([`pull osd.0 ${of(1)}`, `pull osd.1 ${of(2)}`])
  transfer.onMap()
  expect(asked(core)).toEqual([])
})
