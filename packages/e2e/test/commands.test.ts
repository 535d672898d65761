/**
 * Every command of `shoal` once, on a running cluster, for machines: the exit code is right and the answer is JSON. Bad
 * input fails with its code and says how to mend it; so does a cluster that does not run.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildProgram } from '../../cli/src/program.ts'
import { imageLines, mirrorLines, snapshotLines, streamLines } from './support/block-lines.ts'
import { shoal, TestCluster } from './support/cluster.ts'

let cluster: TestCluster
/** Files that commands read and write. */
let files: string
/** Words of the commands that were run, to see that none is missing. */
const ran: string[] = []

beforeAll(async () => {
  cluster = await TestCluster.create()
  files = await mkdtemp(join(tmpdir(), 'shoal-commands-'))
  await writeFile(join(files, 'in'), 'some bytes')
}, 120_000)
afterAll(async () => {
  await cluster.destroy()
  await rm(files, { recursive: true, force: true })
}, 60_000)

async function run(line: string): Promise<{ readonly code: number; readonly data: unknown }> {
  const words = line.replaceAll('FILES', files).split(' ')
  ran.push(line)
  const { code, stdout, stderr } = await cluster.run('--format', 'json', ...words)
  try {
    return { code, data: JSON.parse(stdout) }
  } catch {
    throw new Error(`shoal ${line} ended with ${code} and no JSON: ${stdout}${stderr}`)
  }
}

async function succeeds(line: string): Promise<void> {
  const { code, data } = await run(line)
  expect({ line, code, data: code === 0 ? '' : data }).toEqual({ line, code: 0, data: '' })
}

/** Each line of a group waits for the one before it; groups run side by side. */
const groups: readonly (readonly string[])[] = [
  [
    'status',
    'health',
    'health detail',
    'health mute OSD_DOWN 1h --sticky',
    'health unmute OSD_DOWN',
    'health history 5',
    'health history --code OSD_DOWN',
    'log hello there',
    'log last 3',
    'daemon ls',
    'daemon perf osd.0',
    'tell osd.0 help',
    'tell osd.0 log level level=1 subsystem=ms',
    'tell mon.a log recent count=2',
    'tell nbd.0 perf',
    'daemon ops osd.0',
    'daemon perf mon.a',
    'daemon ops mon.a',
    'daemon perf nbd.0',
    'daemon ops nbd.0',
    'daemon logs osd.0 -n 3',
    'mon stat',
    'pg stat',
    'pg ls',
    'pg ls active',
    'pg query 1.0',
    'pg scrub 1.0',
    'pg deep-scrub 1.1',
    'pg repair 1.2',
    'pg list-inconsistent 1.0',
    'osd scrub 0',
    'osd deep-scrub osd.1',
    'osd repair 2',
    'pg list-unfound 1.0',
    'pg force-recovery 1.0',
    'pg cancel-force-recovery 1.0',
    'pg force-backfill 1.0',
    'pg cancel-force-backfill 1.0',
    'pg repeer 1.0',
    'df',
    'df detail',
    'config-key set some/key value',
    'config-key ls',
    'config-key get some/key',
    'config-key rm some/key',
  ],
  [
    'osd ls',
    'osd tree',
    'osd df',
    'osd map objects some-object',
    'osd reweight 0 0.95',
    'osd reweight 0 1',
    'osd primary-affinity osd.0 0.5',
    'osd set noout',
    'osd unset noout',
    'osd in 0',
    'osd pg-upmap-items 1.0 0 1',
    'osd set-nearfull-ratio 0.84',
    'osd set-backfillfull-ratio 0.91',
    'osd set-full-ratio 0.96',
    'osd blocklist add client.4711 60',
    'osd blocklist ls',
    'osd blocklist rm client.4711',
    'osd blocklist clear',
    'osd rm-pg-upmap-items 1.0',
    'osd rm-pg-upmap-primary 1.0',
    'osd drain 2 --no-wait',
    'crush reweight osd.2 0.01',
  ],
  [
    'balancer status',
    'balancer eval',
    'balancer off',
    'balancer on',
    'balancer mode read',
    'balancer mode upmap-read',
    'balancer mode upmap',
    'pool autoscale-status',
    'pool set objects pg_autoscale_mode warn',
    'pool set objects target_size_ratio 0.2',
    'pool set objects pg_autoscale_mode off',
    'pool set objects target_size_ratio 0',
  ],
  [
    'crash ls',
    'crash ls-new',
    'crash archive-all',
    'crash prune 365',
    'config set osd osd_max_backfills 2',
    'config set osd/class:ssd osd_max_backfills 4',
    'config get osd.0',
    'config get osd.0 osd_max_backfills',
    'config dump',
    'config show osd.0',
    'config show mon.a mon_lease',
    'config show nbd.0',
    'config ls',
    'config help osd_max_backfills',
    'config rm osd/class:ssd osd_max_backfills',
    'config log 5',
    'config reset 0',
  ],
  [
    'crush tree',
    'crush dump',
    'crush rule ls',
    'crush rule dump',
    'crush rule create-replicated spread default osd',
    'crush rule rm spread',
    'osd erasure-code-profile set thin k=2 m=1 crush-failure-domain=osd',
    'osd erasure-code-profile ls',
    'osd erasure-code-profile get thin',
    'crush rule create-erasure shards thin',
    'pool create coded 8 erasure thin',
    'pool rm coded coded --yes-i-really-really-mean-it',
    'osd erasure-code-profile rm thin',
    'crush rule rm shards',
    'crush add-bucket rack1 rack',
    'crush move rack1 root=default',
    'crush rm rack1',
    'crush getmap FILES/map',
    'crush decompile -i FILES/map -o FILES/map.txt',
    'crush decompile -i FILES/map',
    'crush compile -i FILES/map.txt -o FILES/map2',
    'crush test -i FILES/map2 --num-rep 2 --max-x 3 --show-mappings',
    'crush setmap FILES/map2',
    'crush reweight osd.0 0.01',
    'crush set-device-class ssd osd.0',
    'pool create extra 8 --size 2',
    'pool ls',
    'pool set-quota objects max_objects 100000',
    'pool get-quota objects',
    'pool get extra',
    'pool get extra size',
    'pool set extra min_size 1',
    'pool stats',
    'pool stats extra',
    'pool mksnap extra before',
    'object put snapped FILES/in -p extra',
    'pool mksnap extra between',
    'pool lssnap extra',
    'object listsnaps snapped -p extra',
    'object rollback snapped between -p extra',
    'pool rmsnap extra before',
    'pool rm extra extra --yes-i-really-really-mean-it',
  ],
  [
    'object put one FILES/in',
    'object get one FILES/out',
    'object listwatchers one',
    'object notify one hello',
    'object stat one',
    'object ls',
    'object truncate one 4',
    'object setxattr one colour blue',
    'object getxattr one colour',
    'object listxattr one',
    'object rmxattr one colour',
    'object setomapval one key value',
    'object listomapvals one',
    'object rmomapkey one key',
    'object lock get one l --lock-type shared --lock-tag t',
    'object lock ls one',
    'object lock info one l',
    'object rm one',
    'object bench 1 write -b 8K --objects 8 --no-cleanup',
    'object bench 1 rand -b 8K --objects 8',
  ],
  imageLines,
  snapshotLines,
  streamLines,
  mirrorLines,
]

const failures: readonly (readonly [line: string, exitCode: number, code: string])[] = [
  ['health frob', 22, 'EINVAL'],
  ['health mute NOTHING', 22, 'EINVAL'],
  ['health mute OSD_DOWN', 2, 'ENOENT'],
  ['health mute OSD_DOWN soon --sticky', 22, 'EINVAL'],
  ['health history x', 22, 'EINVAL'],
  ['log last x', 22, 'EINVAL'],
  ['crash info none', 2, 'ENOENT'],
  ['crash archive none', 2, 'ENOENT'],
  ['crash rm none', 2, 'ENOENT'],
  ['crash prune never', 22, 'EINVAL'],
  ['config set osd osd_max_backfils 2', 22, 'EINVAL'],
  ['config set osd osd_max_backfills many', 22, 'EINVAL'],
  ['config set osd osd_read_lease 2', 1, 'EPERM'],
  ['config set nobody osd_max_backfills 2', 22, 'EINVAL'],
  ['config rm osd nonsense', 22, 'EINVAL'],
  ['config get osd nonsense', 22, 'EINVAL'],
  ['config show osd.99', 2, 'ENOENT'],
  ['config show osd.0 nonsense', 22, 'EINVAL'],
  ['config help nonsense', 22, 'EINVAL'],
  ['config log x', 22, 'EINVAL'],
  ['config reset 4711', 34, 'ERANGE'],
  ['tell osd.0 nonsense', 95, 'EOPNOTSUPP'],
  ['tell osd.0 a=b', 22, 'EINVAL'],
  ['tell osd.0 log level level=much', 22, 'EINVAL'],
  ['tell osd.0 assert', 1, 'EPERM'],
  ['daemon perf osd.9', 2, 'ENOENT'],
  ['daemon start osd.9', 2, 'ENOENT'],
  ['daemon stop nonsense', 2, 'ENOENT'],
  ['mon add a', 17, 'EEXIST'],
  ['mon remove zz', 2, 'ENOENT'],
  ['osd in x', 22, 'EINVAL'],
  ['osd out 99', 2, 'ENOENT'],
  ['osd down 99', 2, 'ENOENT'],
  ['osd rm 99', 2, 'ENOENT'],
  ['osd destroy 0', 1, 'EPERM'],
  ['osd reweight 0 nine', 22, 'EINVAL'],
  ['osd reweight 0 9', 22, 'EINVAL'],
  ['osd primary-affinity 0 x', 22, 'EINVAL'],
  ['osd set nonsense', 22, 'EINVAL'],
  ['osd map nowhere x', 2, 'ENOENT'],
  ['osd add --capacity lots', 22, 'EINVAL'],
  ['osd pg-upmap-items 1.0 0', 22, 'EINVAL'],
  ['osd pg-upmap-primary 1.0 99', 2, 'ENOENT'],
  ['osd pg-upmap-primary 99.0 0', 2, 'ENOENT'],
  ['balancer mode crush-compat', 95, 'EOPNOTSUPP'],
  ['pool set objects pg_num 0', 22, 'EINVAL'],
  ['pool set objects pg_num many', 22, 'EINVAL'],
  ['osd blocklist add nobody', 22, 'EINVAL'],
  ['osd blocklist add 1 forever', 22, 'EINVAL'],
  ['osd blocklist rm 99', 2, 'ENOENT'],
  ['object lock info none l', 2, 'ENOENT'],
  ['object lock get x l --lock-duration soon', 22, 'EINVAL'],
  ['object lock break x l nobody', 22, 'EINVAL'],
  ['object lock break none l client.1', 2, 'ENOENT'],
  ['crush reweight osd.0 x', 22, 'EINVAL'],
  ['crush move osd.0 nowhere', 22, 'EINVAL'],
  ['crush compile -i /nonexistent/map', 2, 'ENOENT'],
  ['crush test -i /nonexistent/map --num-rep 1', 2, 'ENOENT'],
  ['pool create x many', 22, 'EINVAL'],
  ['pool create x 8 --size 99', 22, 'EINVAL'],
  ['pool set objects nonsense 1', 22, 'EINVAL'],
  ['pg ls nonsense', 22, 'EINVAL'],
  ['pg query 99.0', 2, 'ENOENT'],
  ['pg deep-scrub 99.0', 2, 'ENOENT'],
  ['pg list-inconsistent 99.0', 2, 'ENOENT'],
  ['osd scrub 77', 2, 'ENOENT'],
  ['osd repair nonsense', 22, 'EINVAL'],
  ['object get none FILES/out', 2, 'ENOENT'],
  ['object put x /nonexistent/file', 2, 'ENOENT'],
  ['object bench 1 write -b 0', 22, 'EINVAL'],
  ['block create disk --size many', 22, 'EINVAL'],
  ['block info none', 2, 'ENOENT'],
  ['block lock ls none', 2, 'ENOENT'],
  ['block lock break none', 2, 'ENOENT'],
  ['block bench none --io-type read', 2, 'ENOENT'],
  ['block config image set none qos_iops_limit 5', 2, 'ENOENT'],
  ['block group image ls none', 2, 'ENOENT'],
  ['block mirror peer add elsewhere --peer-monitors nonsense --peer-keyring FILES/in', 22, 'EINVAL'],
  ['block mirror resync none', 2, 'ENOENT'],
  ['block mirror serve --once', 2, 'ENOENT'],
  ['nbd serve none', 2, 'ENOENT'],
  ['pool create coded 8 erasure none', 2, 'ENOENT'],
  ['pool create coded 8 striped', 22, 'EINVAL'],
  ['osd erasure-code-profile set thin k=1 m=1', 22, 'EINVAL'],
  ['nbd serve --listen nonsense', 22, 'EINVAL'],
  ['fsck osd.0', 16, 'EBUSY'],
  ['fsck mon.a', 22, 'EINVAL'],
  ['auth create', 16, 'EBUSY'],
  ['mon rebuild', 16, 'EBUSY'],
  ['df nonsense', 22, 'EINVAL'],
  ['config-key get none', 2, 'ENOENT'],
  ['osd key backup FILES/keys', 2, 'ENOENT'],
  ['osd key restore FILES/keys', 22, 'EINVAL'],
  ['osd key restore FILES/keys --passphrase-file FILES/in', 2, 'ENOENT'],
  ['osd add --encrypt --capacity many', 22, 'EINVAL'],
  ['osd safe-to-destroy 0', 16, 'EBUSY'],
  ['osd lost 0', 1, 'EPERM'],
  ['osd replace 0', 1, 'EPERM'],
  ['pg mark-unfound-lost 1.0 delete', 1, 'EPERM'],
]

/** Names of all commands that do something. */
function leaves(command: ReturnType<typeof buildProgram>, path: readonly string[] = []): readonly string[] {
  const visible = command.commands.filter((one) => one.name() !== 'help')
  if (visible.length === 0) return [path.join(' ')]
  return visible.flatMap((one) => leaves(one, [...path, one.name()]))
}

describe('commands', () => {
  test('succeed and answer with JSON', async () => {
    await Promise.all(
      groups.map(async (group) => {
        for (const line of group) await succeeds(line)
      }),
    )
    expect(await readFile(join(files, 'out'), 'utf8')).toBe('some bytes')
  }, 300_000)

  test('bad input fails with a code, and JSON that names it', async () => {
    const queue = [...failures]
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const [line, exitCode, name] = next
        const { code, data } = await run(line)
        expect({ line, code, name: (data as { error?: { code: string } }).error?.code }).toEqual({
          line,
          code: exitCode,
          name,
        })
      }
    }
    await Promise.all([worker(), worker(), worker()])
    // None of it did anything.
    expect(await cluster.ok('osd', 'tree')).not.toMatch(/ 0\.00000 .*osd/)
  }, 300_000)

  test('an image goes to the trash, comes back, and goes for good', async () => {
    const idInTrash = async (): Promise<string> => {
      const { data } = await run('block trash ls')
      return (data as readonly { readonly id: string }[])[0]?.id ?? 'none'
    }
    for (const line of ['block create old --size 4M', 'block trash mv old --keep 7d']) await succeeds(line)
    await succeeds(`block trash restore ${await idInTrash()} --name again`)
    await succeeds('block trash mv again')
    await succeeds(`block trash rm ${await idInTrash()} --force`)
    await succeeds('block trash purge')
  }, 120_000)

  test('`nbd serve` says where', async () => {
    ran.push('nbd serve')
    const words = [shoal, '--data', cluster.directory, '--format', 'json', 'nbd', 'serve']
    const serving = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
    const [text] = (await once(serving.stdout, 'data')) as [Buffer]
    expect(JSON.parse(text.toString())).toMatchObject({ address: expect.stringContaining('127.0.0.1:') })
    serving.kill('SIGINT')
    expect(await once(serving, 'exit')).toEqual([0, null])
  }, 120_000)

  test('a watcher of an object is told, until Ctrl-C', async () => {
    ran.push('object watch')
    await succeeds('object put watched FILES/in')
    const words = [shoal, '--data', cluster.directory, '--format', 'json', 'object', 'watch', 'watched']
    const watching = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
    await cluster.until('somebody watches', async () => {
      const { data } = await run('object listwatchers watched')
      return Array.isArray(data) && data.length === 1
    })
    await succeeds('object notify watched hello')
    watching.kill('SIGINT')
    expect(await once(watching, 'exit')).toEqual([0, null])
  }, 120_000)

  test('a daemon is stopped, checked and started; then all are stopped', async () => {
    await cluster.until('osd.2 may stop', async () => (await run('osd ok-to-stop 2')).code === 0)
    for (const line of ['osd down 2', 'daemon stop osd.2', 'fsck osd.2', 'daemon start osd.2']) await succeeds(line)
    await succeeds('down')
    const { code, stderr } = await cluster.run('--timeout', '2', 'status')
    expect(code).toBe(5)
    expect(stderr).toMatch(/ENOQUORUM[\s\S]*try: .*shoal daemon ls/)
  }, 180_000)

  test('without a cluster, and with a wrong word', async () => {
    ran.push('up')
    const nowhere = await cluster.run('--data', join(files, 'nowhere'), 'status')
    expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringContaining('npm start') })
    for (const words of [['frobnicate'], ['osd', 'frobnicate'], ['osd', 'out'], ['--format', 'xml', 'status']]) {
      const { code, stderr } = await cluster.run(...words)
      expect({ words, code, stderr }).toEqual({ words, code: 22, stderr: expect.stringContaining('--help') })
    }
  }, 120_000)

  test('are all named here', () => {
    const missing = leaves(buildProgram()).filter((name) => !ran.some((line) => `${line} `.startsWith(`${name} `)))
    expect(missing).toEqual([])
  })
})
