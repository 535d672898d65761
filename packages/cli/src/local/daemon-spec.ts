/** How each daemon of a local cluster is started: one process per daemon, its own session, its output in its log file. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ClusterError } from '@shoal/base'
import { type ClusterFile, type ClusterLayout, checkoutRoot } from './layout.ts'
import { writeRunFile } from './process-table.ts'

type DaemonKind = 'mon' | 'osd' | 'nbd'

export interface DaemonSpec {
  readonly name: string
  readonly kind: DaemonKind
}

/** All daemons of the cluster, in the order in which they should start; they stop in the opposite order. */
export function daemonSpecs(cluster: ClusterFile): readonly DaemonSpec[] {
  return [
    ...cluster.monitors.map((monitor) => ({ name: `mon.${monitor.name}`, kind: 'mon' as const })),
    ...cluster.osds.map((osd) => ({ name: `osd.${osd.id}`, kind: 'osd' as const })),
    { name: 'nbd.0', kind: 'nbd' as const },
  ]
}

export function findSpec(cluster: ClusterFile, name: string): DaemonSpec {
  const spec = daemonSpecs(cluster).find((candidate) => candidate.name === name)
  if (spec === undefined) {
    throw new ClusterError('ENOENT', `there is no daemon ${name}`, { hint: 'shoal daemon ls' })
  }
  return spec
}

/** In a checkout a process waits for a build that is under way: modules of two builds do not go together. */
const settledBuild = join(checkoutRoot, 'scripts', 'lib', 'settled-build.mjs')
export const preload: readonly string[] = existsSync(settledBuild) ? ['--import', pathToFileURL(settledBuild).href] : []

const entry = fileURLToPath(new URL('../daemon.js', import.meta.url))

/**
 * V8 flags by kind. Daemons keep little on the heap (payload lives outside), so a small young generation saves 20 to 30 MB
 * each and costs no measurable throughput; only an OSD, whose operations under way should not outlive two collections of
 * it, writes a tenth more with 16 MB than with 8. Another 4 % with 32 MB would cost 30 MB of its memory.
 *
 * Payload outside the heap counts towards the old generation, which V8 keeps small by collecting all of it again and again:
 * every 23 MB of an OSD that reads, several times a second, on all threads it has. With room from the start it does so only
 * for what really lives on: a large read costs an OSD less than half the processor time, and the gateway half.
 */
const v8Flags: Readonly<Record<DaemonKind, readonly string[]>> = {
  mon: ['--max-semi-space-size=2', '--max-old-space-size=512'],
  osd: ['--max-semi-space-size=16', '--max-old-space-size=1536', '--initial-old-space-size=96'],
  nbd: ['--max-semi-space-size=8', '--max-old-space-size=512', '--initial-old-space-size=128'],
}

/** Starts the process. `detached` gives it a session of its own: Ctrl-C reaches the supervisor only, which then stops it in order. */
export function spawnDaemon(layout: ClusterLayout, spec: DaemonSpec): ChildProcess {
  const log = openSync(layout.logFile(spec.name), 'a')
  try {
    const keyring = existsSync(layout.keyringFile) ? ['--keyring', layout.keyringFile] : []
    const words = [...v8Flags[spec.kind], ...preload, entry, spec.name, '--data', layout.directory, ...keyring]
    const child = spawn(process.execPath, words, { detached: true, stdio: ['ignore', log, log] })
    if (child.pid !== undefined) {
      const dataDirectory = layout.dataDirectory(spec.name)
      writeRunFile(layout, { ...spec, address: '', adminAddress: '', dataDirectory }, child.pid)
    }
    return child
  } finally {
    closeSync(log)
  }
}
