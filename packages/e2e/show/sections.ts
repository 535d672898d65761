/** What an object store must show to be believed, each on a cluster of its own, of real processes. */
import { randomBytes, randomInt } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha, TestCluster } from '../test/support/cluster.ts'
import { damage, putThings, readThings } from '../test/support/damage.ts'
import { KnownObjects } from './known-objects.ts'

/** One line of the result. */
export type Say = (what: string) => void

const mebibyte = 1024 * 1024
const patienceMs = 600_000

interface PgRow {
  readonly pgId: string
  readonly state: string
  readonly lastDeepScrubMs: number
  readonly scrubErrors: number
}

function expectThat(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}

async function withCluster(
  options: readonly string[],
  use: (cluster: TestCluster, objects: KnownObjects) => Promise<void>,
): Promise<void> {
  const cluster = await TestCluster.create(options)
  const objects = new KnownObjects(cluster)
  try {
    await use(cluster, objects)
  } finally {
    await objects.close()
    await cluster.destroy()
  }
}

/** Resolves with the seconds it took. */
async function seconds(work: () => Promise<unknown>): Promise<string> {
  const startedMs = performance.now()
  await work()
  return `${((performance.now() - startedMs) / 1000).toFixed(1)} s`
}

const pgs = (cluster: TestCluster): Promise<readonly PgRow[]> => cluster.json<readonly PgRow[]>('pg', 'ls')

const untilOut = (cluster: TestCluster, osds: readonly number[]): Promise<void> =>
  cluster.until(
    `OSDs ${osds.join(', ')} are out`,
    async () => {
      const rows = await cluster.json<readonly { readonly id: number; readonly in: boolean }[]>('osd', 'ls')
      return osds.every((id) => rows.find((row) => row.id === id)?.in === false)
    },
    patienceMs,
  )

/** A machine is lost for good while clients write, later one more OSD dies: everything is there, and healthy unattended. */
async function hosts(say: Say): Promise<void> {
  await withCluster(['--osds', '12', '--hosts', '4', '--osd-capacity', '8G'], async (cluster, objects) => {
    await cluster.ok('config', 'set', 'mon', 'mon_osd_down_out_interval', '20')
    await objects.write(300)
    say(`${objects.hashes.size} objects of 0 B to 3 MiB on 12 OSDs of 4 hosts`)
    const dead = [3, 4, 5]
    const written = await objects.writeWhile(async () => {
      for (const id of dead) await cluster.killForGood(`osd.${id}`)
      await cluster.until('the map knows', async () =>
        (await cluster.health()).checks.some(({ code }) => code === 'OSD_HOST_DOWN'),
      )
    })
    say(`kill -9 of all OSDs of host-1, which stays dead: ${written} writes were acknowledged meanwhile, none refused`)
    const took = await seconds(async () => {
      await untilOut(cluster, dead)
      await cluster.untilHealthy(patienceMs)
    })
    say(`HEALTH_OK unattended after ${took}; ${await objects.check()} objects equal by sha256`)
    const more = await objects.writeWhile(async () => {
      await cluster.signal('osd.8', 'SIGKILL')
      await cluster.until('the map knows', async () => (await cluster.health()).status !== 'HEALTH_OK')
    })
    const again = await seconds(() => cluster.untilHealthy(patienceMs))
    say(
      `kill -9 of osd.8: ${more} writes meanwhile; HEALTH_OK unattended after ${again}; ${await objects.check()} equal`,
    )
  })
}

/** Bytes that rot in data and metadata of all OSDs, at most one copy of each thing: found and mended, and never read. */
async function scrub(say: Say): Promise<void> {
  await withCluster([], async (cluster) => {
    const osds = [0, 1, 2]
    const things = await putThings(cluster, 6)
    const expected = await readThings(cluster, things)
    // What the journals hold goes to its place.
    for (const id of osds) {
      await cluster.ok('daemon', 'stop', `osd.${id}`)
      await cluster.ok('daemon', 'start', `osd.${id}`)
      await cluster.untilHealthy()
    }
    let data = 0
    let meta = 0
    for (const id of osds) {
      const flipped = await damage(
        cluster,
        `osd.${id}`,
        things.filter((_, i) => i % osds.length === id),
      )
      data += flipped.data
      meta += flipped.meta
    }
    expectThat(data + meta >= 50, `only ${data + meta} bytes were found to flip`)
    say(`${data + meta} bytes flipped under running OSDs: ${data} in data files, ${meta} in metadata files`)
    // First found only, then mended.
    await cluster.ok('osd', 'set', 'norecover')
    const before = Math.max(...(await pgs(cluster)).map(({ lastDeepScrubMs }) => lastDeepScrubMs))
    for (const id of osds) await cluster.ok('osd', 'deep-scrub', String(id))
    let found = 0
    await cluster.until(
      'every damaged object is found',
      async () => {
        found = 0
        for (const { pgId, scrubErrors } of await pgs(cluster)) {
          if (scrubErrors === 0) continue
          const { inconsistents } = await cluster.json<{ inconsistents: readonly { readonly proven: boolean }[] }>(
            ...['pg', 'list-inconsistent', pgId],
          )
          found += inconsistents.filter(({ proven }) => proven).length
        }
        return found === things.length
      },
      patienceMs,
    )
    say(`deep scrub found ${found} of ${things.length} damaged objects, and which copy of each is bad`)
    await cluster.ok('osd', 'unset', 'norecover')
    const took = await seconds(() =>
      cluster.until(
        'everything is mended, and looked at again',
        async () =>
          (await pgs(cluster)).every(
            ({ state, scrubErrors, lastDeepScrubMs }) =>
              state === 'active+clean' && scrubErrors === 0 && lastDeepScrubMs > before,
          ),
        patienceMs,
      ),
    )
    expectThat(JSON.stringify(await readThings(cluster, things)) === JSON.stringify(expected), 'the objects differ')
    say(`all mended after ${took}; bytes, attributes and omap of all objects equal`)
  })
}

/** Disks that fill up to ENOSPC at the default ratios, die there, and take writes again once a twentieth is removed. */
async function full(say: Say): Promise<void> {
  await withCluster(['--osd-capacity', '1200M'], async (cluster, objects) => {
    const bytes = 16 * mebibyte
    let refusal = ''
    for (let i = 0; refusal === ''; i++) {
      const data = randomBytes(bytes)
      const { code, stderr } = await cluster.tryPut(`fill-${i}`, data)
      if (code === 0) objects.hashes.set(`fill-${i}`, sha(data))
      else refusal = stderr
    }
    expectThat(refusal.includes('ENOSPC'), `refused otherwise: ${refusal}`)
    const usage = await cluster.json<readonly { readonly usedBytes: number; readonly totalBytes: number }[]>(
      'osd',
      'df',
    )
    const shares = usage.map(({ usedBytes, totalBytes }) => `${((usedBytes / totalBytes) * 100).toFixed(1)} %`)
    say(`${objects.hashes.size} objects of 16 MiB were acknowledged, then ENOSPC; OSDs used to ${shares.join(', ')}`)
    await cluster.powerCut()
    await cluster.startUnhealthy()
    await objects.reconnect()
    say(`kill -9 of every process, start: ${await objects.check()} objects equal by sha256`)
    const gone = [...objects.hashes.keys()].slice(0, Math.ceil(objects.hashes.size / 20))
    for (const name of gone) {
      await cluster.ok('object', 'rm', name)
      objects.hashes.delete(name)
    }
    const data = randomBytes(bytes)
    const took = await seconds(() =>
      cluster.until('a write goes on', async () => (await cluster.tryPut('resumed', data)).code === 0, 120_000),
    )
    objects.hashes.set('resumed', sha(data))
    say(`${gone.length} objects removed: 16 MiB are taken again after ${took}; ${await objects.check()} objects equal`)
  })
}

/** Four shards and two more: any two OSDs may be dead. */
async function erasure(say: Say): Promise<void> {
  await withCluster(['--osds', '6', '--osd-capacity', '8G'], async (cluster) => {
    await cluster.ok('osd', 'erasure-code-profile', 'set', 'wide', 'k=4', 'm=2', 'crush-failure-domain=osd')
    await cluster.ok('pool', 'create', 'coded', '16', 'erasure', 'wide')
    // By default a pool takes no I/O with k members alone, as Ceph's.
    await cluster.ok('pool', 'set', 'coded', 'min_size', '4')
    await cluster.untilHealthy()
    const objects = new KnownObjects(cluster, 'coded')
    try {
      await objects.write(60)
      for (const pair of [
        [0, 1],
        [2, 5],
        [1, 3],
        [4, 5],
      ]) {
        for (const id of pair) await cluster.killForGood(`osd.${id}`)
        const took = await seconds(() => objects.check())
        say(
          `osd.${pair.join(' and osd.')} dead: ${objects.hashes.size} objects of a pool 4+2 equal by sha256 (${took})`,
        )
        for (const id of pair) await cluster.ok('daemon', 'start', `osd.${id}`)
        await cluster.untilHealthy(patienceMs)
      }
    } finally {
      await objects.close()
    }
  })
}

async function rebuilt(say: Say, cluster: TestCluster, objects: KnownObjects, words: readonly string[]): Promise<void> {
  for (const name of ['mon.a', 'mon.b', 'mon.c']) await rm(join(cluster.directory, name), { recursive: true })
  const { osds } = await cluster.json<{ readonly osds: readonly object[] }>('mon', 'rebuild', ...words)
  await cluster.start()
  await objects.reconnect()
  say(`all monitors lost, rebuilt from ${osds.length} OSDs: ${await objects.check()} objects equal by sha256`)
}

/** Every monitor's directory is lost. */
async function rebuild(say: Say): Promise<void> {
  await withCluster([], async (cluster, objects) => {
    await objects.write(60)
    await cluster.stop()
    await rebuilt(say, cluster, objects, [])
  })
}

/** The same where only monitors had the keys of the OSDs' stores. */
async function encrypted(say: Say): Promise<void> {
  await withCluster(['--encrypt'], async (cluster, objects) => {
    await objects.write(60)
    const secret = join(cluster.directory, 'passphrase')
    const backup = join(cluster.directory, 'keys.backup')
    await writeFile(secret, randomBytes(16).toString('hex'))
    await cluster.ok('osd', 'key', 'backup', backup, '--passphrase-file', secret)
    await cluster.stop()
    await rebuilt(say, cluster, objects, ['--key-backup', backup, '--passphrase-file', secret])
  })
}

/** What was at a snapshot stays what it was. */
async function snapshots(say: Say): Promise<void> {
  await withCluster([], async (cluster, objects) => {
    const size = 4 * mebibyte
    const overwrites = 1_000
    const now = randomBytes(size)
    const then = await cluster.put('image', now)
    await cluster.ok('pool', 'mksnap', 'objects', 'before')
    const pool = await objects.pool()
    for (let i = 0; i < overwrites; i++) {
      const bytes = randomBytes(randomInt(1, 20_000))
      const offset = randomInt(0, size - bytes.length)
      await pool.write('image', offset, bytes)
      bytes.copy(now, offset)
    }
    expectThat((await cluster.hashOf('image', '--snap', 'before')) === then, 'the snapshot has changed')
    expectThat((await cluster.hashOf('image')) === sha(now), 'the object is not what was written')
    say(`${overwrites} overwrites of a 4 MiB object: its snapshot and the object itself equal by sha256`)
  })
}

export const sections: Readonly<Record<string, (say: Say) => Promise<void>>> = {
  hosts,
  scrub,
  full,
  erasure,
  rebuild,
  encrypted,
  snapshots,
}
