/** Recovery of an object with clones: what was acknowledged before a clone was made is in the clone alone. */
import { osdId } from '@shoal/base'
import type { ClientOp, ObjectId } from '@shoal/wire'
import { beforeEach, expect, test } from 'vitest'
import { CopyBackend } from '../src/backend.ts'
import { ClientIo } from '../src/client-io.ts'
import { defaultPgSettings, type PgCore } from '../src/core.ts'
import type { PgEffect } from '../src/effects.ts'
import { MissingSet } from '../src/missing-set.ts'
import { openEnvelope, type PeerMessage } from '../src/peer-message.ts'
import { PgLog } from '../src/pg-log.ts'
import { QuotaShare } from '../src/quota-share.ts'
import { Recovery } from '../src/recovery.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { coreOf, entry, epoch, object, osds, version } from './support.ts'

const [primary, peer] = [osdId(0), osdId(1)]
const head = object('thing')
const clone: ObjectId = { ...head, snap: 5 }

let core: PgCore
let recovery: Recovery
let clientIo: ClientIo

beforeEach(() => {
  core = coreOf(simulatedPg, primary, {
    settings: { ...defaultPgSettings, recoveryActiveMax: 4 },
    leases: { heldUntilMs: () => 1e9, want: () => {}, isLate: () => false, grantedUntilMs: () => 0 },
    log: new PgLog(version("0'0"), [{ ...entry("modify 1'1 thing"), object: clone }, entry("modify 1'2 thing 1'1")]),
  })
  const backend = new CopyBackend(core, [])
  recovery = new Recovery(core, backend, {
    onNeeded: () => {},
    onObjectRecovered: (one) => clientIo.retry(one),
    onRecovered: () => {},
  })
  clientIo = new ClientIo(
    core,
    backend,
    {
      blocksReads: (one) => core.missing.has(one),
      blocksSnapReads: (one) => core.missing.has(one) || core.missing.cloneOf(one) !== undefined,
      blocksWrites: (one) => recovery.isMissingAnywhere(one) || recovery.isRecovering(one),
      missingCloneOf: (one) => recovery.missingCloneOf(one),
      prioritize: (one) => recovery.prioritize(one),
      onBadCopy: () => {},
      onWritten: () => {},
      onUnreadable: () => {},
      backfillTargets: [],
      isWrittenTo: () => true,
      isDegraded: true,
    },
    new QuotaShare(core),
  )
  clientIo.activate()
})

const missingOf = (...objects: readonly ObjectId[]): MissingSet =>
  new MissingSet(objects.map((one) => ({ object: one, need: version(one === head ? "1'2" : "1'1") })))

function told(effects: readonly PgEffect[]): readonly number[] {
  return effects.flatMap((effect) => {
    if (effect.kind !== 'send' || effect.message.type !== 'pg') return []
    const message: PeerMessage = openEnvelope(effect.message)
    return message.kind === 'recover' ? [message.object.snap] : []
  })
}

const answersIn = (effects: readonly PgEffect[]): number => effects.filter(({ kind }) => kind === 'reply').length

/** The write that made the clone, sent again in the interval after the one that it was done in. */
const resent: ClientOp = {
  type: 'client-op',
  request: { client: 1, tid: 2 },
  oldestTid: 2,
  pgId: simulatedPg,
  epoch: epoch(1),
  object: head,
  ops: [{ kind: 'write-full', data: new Uint8Array(3) }],
  attempt: 1,
}

test('a member is told to fetch a head only when it has its clones', () => {
  recovery.peerMissing.set(peer, missingOf(head, clone))
  recovery.start(new Map(), osds(0, 1))
  recovery.prioritize(head)
  expect(told(core.takeEffects())).toEqual([clone.snap])
  recovery.onRecovered(peer, clone, 0, 10)
  expect(told(core.takeEffects())).toEqual([head.snap])
})

test('the answer to a write that was sent again waits until nobody lacks the clone that it made', () => {
  recovery.peerMissing.set(peer, missingOf(clone))
  recovery.start(new Map(), osds(0, 1))
  clientIo.onOp(7, resent)
  const effects = core.takeEffects()
  expect(answersIn(effects)).toBe(0)
  expect(told(effects)).toEqual([clone.snap])
  recovery.onRecovered(peer, clone, 0, 10)
  expect(answersIn(core.takeEffects())).toBe(1)
})

test('a head that is whole everywhere is not held back by the clone of another object', () => {
  recovery.peerMissing.set(peer, missingOf({ ...object('other'), snap: 5 }))
  recovery.start(new Map(), osds(0, 1))
  clientIo.onOp(7, resent)
  expect(answersIn(core.takeEffects())).toBe(1)
})
