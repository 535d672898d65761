/** Writes in the context of snapshots, as they are planned. */
import type { PgId } from '@shoal/base'
import { expect, test } from 'vitest'
import type { PgCore } from '../src/core.ts'
import { PgLog } from '../src/pg-log.ts'
import { type Family, planSnapWrite } from '../src/plan-snapshots.ts'
import { epoch, object, version } from './support.ts'

test('a part of a placement group that counts too little counts no further than to nothing', () => {
  const core = {
    pgId: '1.0' as PgId,
    clock: { wallMs: () => 0 },
    map: { epoch: epoch(4) },
    log: new PgLog(version("3'1"), []),
    objects: 0,
    bytes: 10,
  } as unknown as PgCore
  const op = {
    type: 'client-op' as const,
    request: { client: 1, tid: 1 },
    oldestTid: 1,
    pgId: core.pgId,
    epoch: epoch(4),
    object: object('a'),
    ops: [{ kind: 'remove' as const }],
    attempt: 0,
  }
  const before = {
    exists: true,
    sizeBytes: 4_096,
    xattrs: new Map(),
    omap: undefined,
    extents: [],
  } as unknown as NonNullable<Family['dir']>
  const after = { exists: false, sizeBytes: 0, xattrs: new Map() }
  const execution = { kind: 'done', steps: [], after, results: [] } as unknown as Parameters<typeof planSnapWrite>[5]
  const family = { set: undefined, dir: undefined }
  const { entries } = planSnapWrite(core, op, before, family, { seq: 1, snaps: [] }, execution)
  expect(entries.at(-1)).toMatchObject({ kind: 'delete', pgObjects: 0, pgBytes: 0 })
})
