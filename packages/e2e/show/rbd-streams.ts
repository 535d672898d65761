/**
 * Streams of images between a real `rbd` and us, both ways: equal bytes at every snapshot. Debian's packages are installed
 * where they are missing. Exit code 0: all of it held.
 *
 *   node scripts/show-rbd-streams.mjs              both ways
 *   node scripts/show-rbd-streams.mjs record       makes packages/image-streams/test/recorded anew
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startCeph } from '../../../bench/vs-ceph/ceph-cluster.ts'
import { install, run } from '../../../bench/vs-ceph/command.ts'
import { poolName } from '../../../bench/vs-ceph/rival.ts'
import { TestCluster } from '../test/support/cluster.ts'

const recordedDirectory = join(import.meta.dirname, '..', '..', 'image-streams', 'test', 'recorded')
const ending: (() => Promise<unknown>)[] = []
const directory = await mkdtemp(join(tmpdir(), 'rbd-streams-'))
ending.push(() => rm(directory, { recursive: true, force: true }))
const at = (name: string): string => join(directory, name)

function say(what: string): void {
  process.stdout.write(`rbd-streams: ${what}\n`)
}

/** A real Ceph: how it is asked. */
async function ceph(): Promise<(...words: readonly string[]) => Promise<string>> {
  await install(['ceph-osd', 'ceph-mon', 'ceph-mgr', 'ceph-common', 'fio'])
  const shape = { osds: 1, osdGib: 4, size: 1, pgNum: 8, imageMib: 1024 }
  const cluster = await startCeph(shape, ending as (() => Promise<void>)[])
  const { env } = cluster.rival(false)
  return (program = '', ...words) => run(program, words, env)
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

type Ask = (...words: readonly string[]) => Promise<string>

/** Snapshots a, b (protected) and c of an image that was written, discarded, shrunk and grown in between. */
async function makeImage(ask: Ask, name: string): Promise<void> {
  const spec = `${poolName}/${name}`
  const write = (kind: 'write' | 'trim', bytes: number, offset: number, pattern: number): Promise<string> =>
    ask(
      'fio',
      ...['--name=w', '--ioengine=rbd', '--clientname=admin', `--pool=${poolName}`, `--rbdname=${name}`],
      ...[`--rw=${kind}`, `--bs=${bytes}`, `--size=${bytes}`, `--offset=${offset}`, `--buffer_pattern=${pattern}`],
    )
  await ask('rbd', 'create', '--size', '96K', '--object-size', '4K', spec)
  await ask('rbd', 'image-meta', 'set', spec, 'owner', 'someone')
  await write('write', 512, 0, 0x41)
  await write('write', 512, 40_960, 0x42)
  await write('write', 1024, 90_112, 0x43)
  await ask('rbd', 'snap', 'create', `${spec}@a`)
  await write('write', 512, 0, 0x44)
  await write('trim', 4096, 40_960, 0)
  await write('write', 512, 16_384, 0x45)
  await ask('rbd', 'snap', 'create', `${spec}@b`)
  await ask('rbd', 'snap', 'protect', `${spec}@b`)
  await ask('rbd', 'resize', '--size', '48K', '--allow-shrink', spec)
  await ask('rbd', 'resize', '--size', '200000B', spec)
  await write('write', 512, 131_072, 0x46)
  await ask('rbd', 'snap', 'create', `${spec}@c`)
  await write('write', 512, 4096, 0x47)
}

const chain: readonly (readonly [from: string | undefined, to: string | undefined])[] = [
  [undefined, 'a'],
  ['a', 'b'],
  ['b', 'c'],
  ['c', undefined],
]
const nameOf = ([from, to]: (typeof chain)[number]): string => `${from ?? '0'}-${to ?? 'head'}.diff`
const specOf = (image: string, snapshot: string | undefined): string =>
  snapshot === undefined ? image : `${image}@${snapshot}`
const since = (from: string | undefined): readonly string[] => (from === undefined ? [] : ['--from-snap', from])

async function exportByRbd(ask: Ask, name: string, into: (file: string) => string): Promise<Record<string, string>> {
  const spec = `${poolName}/${name}`
  const hashes: Record<string, string> = {}
  for (const link of chain) {
    const [from, to] = link
    await ask('rbd', 'export-diff', ...since(from), specOf(spec, to), into(nameOf(link)))
    hashes[to ?? 'head'] = await hashByRbd(ask, spec, to)
  }
  await ask('rbd', 'merge-diff', into('a-b.diff'), into('b-c.diff'), into('a-c.diff'))
  await ask('rbd', 'export', '--export-format', '2', spec, into('image.v2'))
  return hashes
}

async function hashByRbd(ask: Ask, spec: string, snapshot: string | undefined): Promise<string> {
  const file = at('by-rbd.raw')
  await rm(file, { force: true })
  await ask('rbd', 'export', specOf(spec, snapshot), file)
  return sha256(file)
}

async function hashByUs(shoal: TestCluster, image: string, snapshot: string | undefined): Promise<string> {
  const file = at('by-us.raw')
  await rm(file, { force: true })
  await shoal.ok('block', 'export', specOf(image, snapshot), file)
  return sha256(file)
}

/** The image has at each snapshot, and as it is, what it should. */
async function expectHashes(
  what: string,
  expected: Readonly<Record<string, string>>,
  hash: (snapshot: string | undefined) => Promise<string>,
): Promise<void> {
  for (const [name, wanted] of Object.entries(expected)) {
    const found = await hash(name === 'head' ? undefined : name)
    if (found !== wanted) throw new Error(`${what}: at ${name} the bytes differ: ${found}, not ${wanted}`)
  }
  say(`${what}: equal at ${Object.keys(expected).join(', ')}`)
}

async function record(): Promise<void> {
  const ask = await ceph()
  await makeImage(ask, 'recorded')
  const hashes = await exportByRbd(ask, 'recorded', (file) => at(file))
  for (const file of [...chain.map(nameOf), 'a-c.diff', 'image.v2']) {
    await run('cp', [at(file), join(recordedDirectory, file)])
  }
  await writeFile(join(recordedDirectory, 'sha256.json'), `${JSON.stringify(hashes, undefined, 2)}\n`)
  say(`recorded in ${recordedDirectory}`)
}

async function bothWays(): Promise<void> {
  const ask = await ceph()
  await makeImage(ask, 'theirs')
  const theirs = await exportByRbd(ask, 'theirs', (file) => at(file))
  const shoal = await TestCluster.create(['--osds', '1'])
  ending.push(() => shoal.destroy())
  await shoal.ok('block', 'create', 'diffs', '--size', '1', '--object-size', '64K')
  for (const link of chain) await shoal.ok('block', 'import-diff', at(nameOf(link)), 'diffs')
  await expectHashes('rbd export-diff, our import-diff', theirs, (snapshot) => hashByUs(shoal, 'diffs', snapshot))
  await shoal.ok('block', 'import', at('image.v2'), 'whole')
  await expectHashes('rbd export --export-format 2, our import', theirs, (snapshot) =>
    hashByUs(shoal, 'whole', snapshot),
  )
  await shoal.ok('block', 'merge-diff', at('a-b.diff'), at('b-c.diff'), at('our-a-c.diff'))
  if ((await sha256(at('our-a-c.diff'))) !== (await sha256(at('a-c.diff')))) throw new Error('merge-diff: they differ')
  say('merge-diff: the same bytes as from rbd')

  const back = `${poolName}/back`
  await ask('rbd', 'create', '--size', '4K', '--object-size', '16K', back)
  for (const link of chain) {
    const file = at(`ours-${nameOf(link)}`)
    await shoal.ok('block', 'export-diff', ...since(link[0]), specOf('diffs', link[1]), file)
    await ask('rbd', 'import-diff', file, back)
  }
  await expectHashes('our export-diff, rbd import-diff', theirs, (snapshot) => hashByRbd(ask, back, snapshot))
  await shoal.ok('block', 'export', '--export-format', '2', 'whole', at('ours.v2'))
  await ask('rbd', 'import', '--export-format', '2', at('ours.v2'), `${poolName}/again`)
  await expectHashes('our export --export-format 2, rbd import', theirs, (snapshot) =>
    hashByRbd(ask, `${poolName}/again`, snapshot),
  )
  const protections = await ask('rbd', 'snap', 'ls', `${poolName}/again`, '--format', 'json')
  const kept = (JSON.parse(protections) as readonly { readonly name: string; readonly protected: string }[])
    .filter((snapshot) => snapshot.protected === 'true')
    .map(({ name }) => name)
  if (kept.join() !== 'b') throw new Error(`protected at the end: ${kept.join()}`)
  say('protection of snapshots went there and back')
}

async function endAll(): Promise<void> {
  for (let end = ending.pop(); end !== undefined; end = ending.pop()) await end()
}

const wanted = process.argv[2]
if (wanted !== undefined && wanted !== 'record') {
  process.stderr.write('usage: show-rbd-streams [record]\n')
  process.exitCode = 2
} else {
  try {
    await (wanted === 'record' ? record() : bothWays())
  } catch (error) {
    say(`FAILED: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
await endAll()
