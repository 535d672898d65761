/** Who pulls a shard in a version that its source has replaced: a stray has it among what it keeps to undo writes. */
import { errorTable, osdId, type PgId, shardPgId } from '@shoal/base'
import { createErasureCode } from '@shoal/erasure'
import type { ObjectId } from '@shoal/wire'
import { expect, test } from 'vitest'
import type { PgCore } from '../src/core.ts'
import { RollbackLog, stashName } from '../src/erasure/rollback-log.ts'
import { ShardTransfer } from '../src/erasure/shard-transfer.ts'
import { memberOf } from '../src/member.ts'
import { MissingSet } from '../src/missing-set.ts'
import { openEnvelope } from '../src/peer-message.ts'
import { PgLog } from '../src/pg-log.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { coreOf, entry, object, osds, version } from './support.ts'

const thing = object('thing')
const shard: PgId = shardPgId(simulatedPg, 0)
const asker = memberOf(osdId(1), 1)

/** Two writes of the thing came here, and one of another object; the last of each lost. */
const entries = ["modify 1'1 thing", "modify 2'2 thing 1'1", "modify 2'3 other 1'0", "modify 2'4 thing 2'2"].map(entry)

function stray(kept: readonly string[]): { readonly core: PgCore; readonly transfer: ShardTransfer; bad: ObjectId[] } {
  const stashes = entries.filter((one) => kept.includes(`${one.version.epoch}'${one.version.version}`))
  const rollback = new RollbackLog(shard, stashes)
  const core = coreOf(shard, osdId(1), { log: new PgLog(version("0'0"), entries), rollback })
  core.mapping = { ...core.mapping, up: osds(1), acting: osds(1) }
  const bad: ObjectId[] = []
  const transfer = new ShardTransfer(
    core,
    [],
    () => createErasureCode({ k: 2, m: 1 }),
    (one) => bad.push(one),
  )
  return { core, transfer, bad }
}

/** Which object of its store the source reads for whoever pulls the thing in a version. */
function readFor({ core, transfer }: ReturnType<typeof stray>, wanted: string): ObjectId | undefined {
  transfer.onPull(asker, { kind: 'pull', object: thing, version: version(wanted), offset: 0, omapAfter: undefined })
  for (const effect of core.takeEffects()) if (effect.kind === 'read-piece') return effect.object
  return undefined
}

test('a stray gives the version that a write which lost has replaced, as it is kept', () => {
  const source = stray(["2'2", "2'3", "2'4"])
  expect(readFor(source, "1'1")).toEqual(stashName(thing, version("2'2")))
  expect(readFor(source, "2'2")).toEqual(stashName(thing, version("2'4")))
})

test('a stray gives the newest version as it is, and what it keeps no more it cannot give', () => {
  const source = stray(["2'3", "2'4"])
  expect(readFor(source, "2'4")).toEqual(thing)
  expect(readFor(source, "1'1")).toEqual(thing)
})

test('a member has undone what lost: what it keeps is of writes that are under way', () => {
  const source = stray(["2'2", "2'4"])
  source.core.mapping = { ...source.core.mapping, acting: osds(1, 0) }
  expect(readFor(source, "2'2")).toEqual(thing)
})

test('a stray whose shard was missing has nothing to give, in no version', () => {
  const source = stray(["2'4"])
  source.core.missing = new MissingSet([{ object: thing, need: version("2'4") }])
  expect(readFor(source, "2'2")).toBeUndefined()
})

test('a bad block of what is kept says nothing of the shard itself', () => {
  const source = stray(["2'4"])
  const { core, transfer, bad } = source
  const { errno } = errorTable.ECHECKSUM
  for (const wanted of ["2'2", "2'4"]) {
    transfer.onPull(asker, { kind: 'pull', object: thing, version: version(wanted), offset: 0, omapAfter: undefined })
    const read = core.takeEffects().find((effect) => effect.kind === 'read-piece')
    if (read !== undefined) core.answer(read.token, { kind: 'piece-read', token: read.token, errno, piece: undefined })
    const [answer] = core.takeEffects()
    if (answer?.kind !== 'send' || answer.message.type !== 'pg') throw new Error('the asker is answered')
    expect(openEnvelope(answer.message)).toMatchObject({ kind: 'piece', errno })
  }
  expect(bad).toEqual([thing])
})
