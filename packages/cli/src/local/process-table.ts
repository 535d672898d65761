/**
 * Which daemons of a cluster directory run on this machine. A process is known by its pid and its start time, so that a
 * recycled pid is never taken for a daemon and never signalled.
 */
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import type { ClusterLayout } from './layout.ts'

export interface RunningDaemon {
  readonly name: string
  readonly kind: 'mon' | 'osd' | 'nbd' | 'up'
  readonly pid: number
  /** Clock ticks after boot at which the process started; empty where the system does not tell. */
  readonly startTicks: string
  readonly startedMs: number
  readonly address: string
  readonly adminAddress: string
  readonly dataDirectory: string
}

const runSchema: z.ZodType<RunningDaemon> = z.object({
  name: z.string(),
  kind: z.enum(['mon', 'osd', 'nbd', 'up']),
  pid: z.number().int().positive(),
  startTicks: z.string(),
  startedMs: z.number(),
  address: z.string(),
  adminAddress: z.string(),
  dataDirectory: z.string(),
})

/** Field 22 of /proc/PID/stat; undefined when there is no such process. */
function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

export function isRunning(daemon: RunningDaemon): boolean {
  const ticks = startTicksOf(daemon.pid)
  return ticks !== undefined && (daemon.startTicks === '' || daemon.startTicks === ticks)
}

/**
 * Announces a process, replacing the file atomically: its parent does so as soon as it has a pid, with empty
 * addresses, and the daemon itself once it listens.
 */
export function writeRunFile(
  layout: ClusterLayout,
  daemon: Omit<RunningDaemon, 'pid' | 'startTicks' | 'startedMs'>,
  pid: number = process.pid,
): void {
  const run: RunningDaemon = {
    ...daemon,
    pid,
    startTicks: startTicksOf(pid) ?? '',
    startedMs: Date.now(),
  }
  const file = layout.runFile(daemon.name)
  writeFileSync(`${file}.new`, `${JSON.stringify(run)}\n`)
  renameSync(`${file}.new`, file)
}

export function removeRunFile(layout: ClusterLayout, name: string): void {
  rmSync(layout.runFile(name), { force: true })
}

export function readRunFile(layout: ClusterLayout, name: string): RunningDaemon | undefined {
  try {
    const run = runSchema.parse(JSON.parse(readFileSync(layout.runFile(name), 'utf8')))
    return isRunning(run) ? run : undefined
  } catch {
    return undefined
  }
}

/** The daemons that run now, by name. Files left behind by killed processes do not count. */
export function runningDaemons(layout: ClusterLayout): readonly RunningDaemon[] {
  let names: readonly string[]
  try {
    names = readdirSync(layout.runDirectory)
  } catch {
    return []
  }
  return names
    .filter((name) => name.endsWith('.json'))
    .map((name) => readRunFile(layout, name.slice(0, -'.json'.length)))
    .filter((run) => run !== undefined)
    .toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
}

/** Sends the signal if the daemon still runs; false if it does not. */
export function signalDaemon(daemon: RunningDaemon, signal: NodeJS.Signals): boolean {
  if (!isRunning(daemon)) return false
  try {
    process.kill(daemon.pid, signal)
    return true
  } catch {
    return false
  }
}

/** True once it has ended; false when it still runs after the time. */
export async function waitForExit(daemon: RunningDaemon, timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs
  while (isRunning(daemon)) {
    if (performance.now() > deadlineMs) return false
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  return true
}
