/** `shoal block mirror ...`: images that another cluster has copies of, which follow snapshot by snapshot. */
import { readFileSync } from 'node:fs'
import { ClusterError } from '@shoal/base'
import type { MirrorPool, MirrorSide } from '@shoal/block'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { asClusterError } from '../../output/failure.ts'
import { formatTable } from '../../output/table.ts'
import { formatDuration, parseBytes, parseDuration, parseInteger } from '../../output/units.ts'
import { defaultBlockPool, parsePoolAndName } from '../pool-io.ts'
import { connectPeer, mirrorPoolOf, readPeer, removePeer, writePeer } from './mirror-peer.ts'

type Options = Readonly<Record<string, unknown>>

const poolOption = ['--pool <pool>', 'the pool, of the same name in both clusters', defaultBlockPool] as const

export function addMirrorCommands(block: Command): void {
  const mirror = block.command('mirror').description('copies of images in another cluster')
  addPeerCommands(mirror)
  addRoleCommands(mirror)
  addStatus(mirror)
  addServe(mirror)
}

function addPeerCommands(mirror: Command): void {
  const peer = mirror.command('peer').description('the other cluster of a pool')
  action(
    peer
      .command('add')
      .argument('<name>', 'what people call it')
      .requiredOption('--peer-monitors <addresses>', 'its monitors, HOST:PORT,...')
      .option('--peer-keyring <file>', 'its key')
      .option(...poolOption)
      .description('name the other cluster; our monitors keep its key'),
    async (context, [name = ''], options) => {
      const pool = String(options['pool'])
      const known = await readPeer(context, pool)
      if (known !== undefined && known.name !== name) {
        throw new ClusterError('EEXIST', `pool ${pool} has the peer ${known.name}`, {
          hint: `shoal block mirror peer rm --pool ${pool}`,
        })
      }
      const keyring = options['peerKeyring'] === undefined ? undefined : readText(String(options['peerKeyring']))
      await writePeer(context, pool, { name, monitors: String(options['peerMonitors']).split(','), keyring })
      context.print({ pool, peer: name }, () => `pool ${pool} has the peer ${name}`)
    },
  )
  action(
    peer
      .command('ls')
      .option(...poolOption)
      .description('the other cluster'),
    async (context, _, options) => {
      const found = await readPeer(context, String(options['pool']))
      const peers = found === undefined ? [] : [{ name: found.name, monitors: found.monitors }]
      context.print(peers, () => peers.map(({ name, monitors }) => `${name}  ${monitors.join(',')}`).join('\n'))
    },
  )
  action(
    peer
      .command('rm')
      .option(...poolOption)
      .description('forget the other cluster; images stay what they are'),
    async (context, _, options) => {
      await removePeer(context, String(options['pool']))
      context.print({ pool: options['pool'] }, () => `pool ${String(options['pool'])} has no peer`)
    },
  )
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw asClusterError(error)
  }
}

async function named(
  context: CommandContext,
  text: string,
): Promise<{ readonly mirror: MirrorPool; readonly pool: string; readonly name: string }> {
  const { pool, name } = parsePoolAndName(text, defaultBlockPool)
  return { mirror: await mirrorPoolOf(context, await context.client(), pool), pool, name }
}

function addRoleCommands(mirror: Command): void {
  action(
    mirror
      .command('enable')
      .argument('<image>', 'POOL/IMAGE')
      .option('--schedule <time>', 'a snapshot so often, as in 5m; without it when somebody asks')
      .description('mirror an image, or change how often; this cluster has the primary'),
    async (context, [text = ''], options) => {
      const { mirror, pool, name } = await named(context, text)
      const { enableMirror } = await import('@shoal/block')
      const scheduleMs = options['schedule'] === undefined ? 0 : parseDuration(String(options['schedule']))
      const record = await enableMirror(mirror, name, scheduleMs)
      const often = scheduleMs === 0 ? 'when somebody asks' : `every ${formatDuration(scheduleMs)}`
      context.print({ image: `${pool}/${name}`, ...record }, () => `${pool}/${name} is mirrored, ${often}`)
    },
  )
  action(
    mirror.command('disable').argument('<image>', 'POOL/IMAGE').description('mirror an image no longer; it stays'),
    async (context, [text = '']) => {
      const { mirror, pool, name } = await named(context, text)
      await (await import('@shoal/block')).disableMirror(mirror, name)
      context.print({ image: `${pool}/${name}` }, () => `${pool}/${name} is not mirrored`)
    },
  )
  action(
    mirror
      .command('snapshot')
      .argument('<image>', 'POOL/IMAGE, the primary')
      .description('take a snapshot now, which is copied next'),
    async (context, [text = '']) => {
      const { mirror, pool, name } = await named(context, text)
      const snapshot = mirror.newSnapshotName()
      await mirror.store.snapshots.create(name, snapshot, 'mirror')
      context.print({ image: `${pool}/${name}`, snapshot }, () => `${pool}/${name}@${snapshot} taken`)
    },
  )
  action(
    mirror
      .command('demote')
      .argument('<image>', 'POOL/IMAGE, the primary')
      .description('make the primary a copy; resolves when nobody writes it and a last snapshot has all of it'),
    async (context, [text = '']) => {
      const { mirror, pool, name } = await named(context, text)
      await (await import('@shoal/block')).demoteMirror(mirror, name)
      context.print({ image: `${pool}/${name}`, role: 'copy' }, () => `${pool}/${name} is a copy`)
    },
  )
  action(
    mirror
      .command('promote')
      .argument('<image>', 'POOL/IMAGE, a copy')
      .option('--force', 'though the other cluster cannot be asked, or has more: that is lost')
      .description('make a copy the primary, as its last complete snapshot'),
    promote,
  )
  action(
    mirror
      .command('resync')
      .argument('<image>', 'POOL/IMAGE, a copy')
      .description('throw a copy away that went its own way; it is copied anew'),
    async (context, [text = '']) => {
      const { mirror, pool, name } = await named(context, text)
      await (await import('@shoal/block')).resyncMirror(mirror, name)
      context.print({ image: `${pool}/${name}` }, () => `${pool}/${name} will be copied anew`)
    },
  )
}

async function promote(context: CommandContext, [text = '']: readonly string[], options: Options): Promise<void> {
  const { mirror, pool, name } = await named(context, text)
  const { promoteMirror } = await import('@shoal/block')
  const force = options['force'] === true
  const globalId = force ? undefined : await mirror.globalIdOf(name)
  const peer = globalId === undefined ? undefined : await connectPeer(context, pool)
  try {
    const there = globalId === undefined ? undefined : await peer?.pool.sideOf(globalId)
    await promoteMirror(mirror, name, there, force)
  } finally {
    await peer?.close()
  }
  context.print({ image: `${pool}/${name}`, role: 'primary' }, () => `${pool}/${name} is the primary`)
}

interface StatusRow {
  readonly image: string
  readonly globalId: string
  readonly role: MirrorSide['role'] | 'absent'
  readonly peerRole: MirrorSide['role'] | 'absent' | 'unknown'
  /** What a copier here would do next, or wait for. */
  readonly state: string
  /** Of the last snapshot that is complete here. */
  readonly ageMs: number | null
  /** Snapshots that the other side has and this one does not. */
  readonly behind: number
}

function addStatus(mirror: Command): void {
  action(
    mirror
      .command('status')
      .option(...poolOption)
      .description('each image that is mirrored, here and there'),
    async (context, _, options) => {
      const pool = String(options['pool'])
      const here = await mirrorPoolOf(context, await context.client(), pool)
      const peer = await connectPeer(context, pool).catch((error: unknown) => error as Error)
      try {
        const rows = await statusRows(here, peer instanceof Error ? undefined : peer.pool)
        context.print(rows, () => {
          const table = formatTable(
            [
              { title: 'IMAGE', cell: (row) => row.image },
              { title: 'HERE', cell: (row) => row.role },
              { title: 'THERE', cell: (row) => row.peerRole },
              { title: 'STATE', cell: (row) => row.state },
              { title: 'LAST', cell: (row) => (row.ageMs === null ? '' : `${formatDuration(row.ageMs)} ago`) },
              { title: 'BEHIND', cell: (row) => row.behind, align: 'right' },
            ],
            rows,
          )
          return peer instanceof Error ? `${table}\nthe other cluster cannot be asked: ${peer.message}` : table
        })
      } finally {
        if (!(peer instanceof Error)) await peer.close()
      }
    },
  )
}

async function statusRows(here: MirrorPool, there: MirrorPool | undefined): Promise<readonly StatusRow[]> {
  const { listMirrored, planMirrorStep } = await import('@shoal/block')
  const lists = [await listMirrored(here.io), ...(there === undefined ? [] : [await listMirrored(there.io)])]
  const rows: StatusRow[] = []
  for (const globalId of new Set(lists.flatMap((list) => [...list.keys()]))) {
    const [local, remote] = [await here.sideOf(globalId), await there?.sideOf(globalId)]
    const nowMs = here.env.clock.wallMs()
    const step = there === undefined ? undefined : planMirrorStep(local, remote, nowMs)
    const last = local?.snapshots.at(-1)
    const theirs = remote?.snapshots.map(({ name }) => name) ?? []
    rows.push({
      image: local?.name ?? remote?.name ?? globalId,
      globalId,
      role: local?.role ?? 'absent',
      peerRole: there === undefined ? 'unknown' : (remote?.role ?? 'absent'),
      state: step === undefined ? 'unknown' : step.kind === 'wait' ? step.state : `to do: ${step.kind}`,
      ageMs: last === undefined ? null : Math.max(0, nowMs - last.createdMs),
      behind: local?.role === 'primary' ? 0 : theirs.length - 1 - theirs.indexOf(last?.name ?? ''),
    })
  }
  return rows.toSorted((a, b) => a.image.localeCompare(b.image))
}

function addServe(mirror: Command): void {
  action(
    mirror
      .command('serve')
      .option(...poolOption)
      .option('--interval <time>', 'how often to look', '5s')
      .option('--rate <size>', 'no more bytes per second than this, as in 50M')
      .option('--images <count>', 'images that are copied at once', '2')
      .option('--once', 'end when all is done that there is to do')
      .description('copy what the other cluster has of primaries into this one, until Ctrl-C'),
    serve,
  )
}

async function serve(context: CommandContext, _: readonly string[], options: Options): Promise<void> {
  const pool = String(options['pool'])
  const { mirrorPool } = await import('@shoal/block')
  const intervalMs = parseDuration(String(options['interval']))
  const bytesPerSecond = options['rate'] === undefined ? undefined : parseBytes(String(options['rate']))
  const widthMax = parseInteger(String(options['images']), 'images', 1, 64)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
  const told = new Map<string, string>()
  const local = await mirrorPoolOf(context, await context.client(), pool)
  const peer = await connectPeer(context, pool)
  try {
    while (!stop.signal.aborted) {
      await mirrorPool(local, peer.pool, {
        bytesPerSecond,
        widthMax,
        isStopping: () => stop.signal.aborted,
        onImage(globalId, outcome) {
          const state = typeof outcome === 'string' ? outcome : `${outcome.code}: ${outcome.message}`
          if (told.get(globalId) === state) return
          told.set(globalId, state)
          process.stderr.write(`${new Date().toISOString()} ${globalId} ${state}\n`)
        },
      })
      if (options['once'] === true) break
      await pause(intervalMs, stop.signal)
    }
  } finally {
    await peer.close()
  }
  context.print(
    [...told].map(([globalId, state]) => ({ globalId, state })),
    () => '',
  )
}

/** Ends early when it is aborted. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
