/** `shoal up --detach` comes back when the cluster is what was asked for, not when nothing is unwell yet. */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { shoal } from './support/cluster.ts'

/** The command has bounds of its own, below that. */
const runMsMax = 200_000

let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'shoal-e2e-'))
})
afterAll(async () => {
  run('down')
  await rm(directory, { recursive: true, force: true })
})

function run(...args: readonly string[]): string {
  return execFileSync(process.execPath, [shoal, '--data', directory, ...args], { encoding: 'utf8', timeout: runMsMax })
}

interface Status {
  readonly osdMap: { readonly osds: number; readonly up: number }
  readonly pgMap: { readonly pools: number; readonly states: readonly { readonly state: string }[] }
}

test('with all OSDs and pools of a new cluster, and every placement group known', () => {
  // Health alone is content with the three OSDs that a pool needs, and with no pool at all.
  const created = run('up', '--detach', '--osds', '6', '--hosts', '3', '--osd-capacity', '2G')
  expect(created).toMatch(/^HEALTH_OK; running as process \d+/)
  const { osdMap, pgMap } = JSON.parse(run('--format', 'json', 'status')) as Status
  expect(osdMap).toMatchObject({ osds: 6, up: 6 })
  expect(pgMap.pools).toBe(2)
  expect(pgMap.states.map(({ state }) => state)).not.toContain('unknown')
  // The process that was started goes on without the one that started it, and again.
  run('down')
  expect(JSON.parse(run('--format', 'json', 'up', '--detach'))).toMatchObject({ health: { status: 'HEALTH_OK' } })
  expect((JSON.parse(run('--format', 'json', 'status')) as Status).osdMap).toMatchObject({ osds: 6, up: 6 })
}, 300_000)
