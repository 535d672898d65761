/**
 * What a process leaves behind when it ends by a bug: `DIRECTORY/ID/meta` (what happened, as JSON) and `DIRECTORY/ID/log` (the
 * latest events, a line of JSON each). Whoever starts the daemon again tells the monitors. The names are those of Ceph's
 * crash module: https://docs.ceph.com/en/latest/mgr/crash/
 *
 * Written synchronously by a process that is about to end, perhaps because the disk is full: nothing here throws.
 */
import { randomFillSync } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { hexEncode } from '@shoal/base'
import type { LogEvent } from './real-log.ts'

/** A daemon that dies at every start must not fill the disk. The newest are kept. */
const dumpsMax = 16

export interface CrashDump {
  /** `osd.3` */
  readonly entity: string
  readonly version: string
  readonly reason: string
  readonly cause: unknown
  readonly events: readonly LogEvent[]
}

/** False when it could not be written. */
export function writeCrashDump(directory: string, dump: CrashDump): boolean {
  try {
    const time = new Date().toISOString()
    const id = `${time}_${hexEncode(randomFillSync(new Uint8Array(8)))}`
    const target = join(directory, id)
    mkdirSync(`${target}.new`, { recursive: true })
    writeSynced(join(`${target}.new`, 'log'), dump.events.map(lineOf).join(''))
    const meta = {
      crash_id: id,
      timestamp: time,
      entity_name: dump.entity,
      shoal_version: dump.version,
      reason: dump.reason,
      backtrace: stackOf(dump.cause).split('\n'),
      process_id: process.pid,
      node_version: process.version,
      utsname_hostname: hostname(),
    }
    writeSynced(join(`${target}.new`, 'meta'), `${JSON.stringify(meta, undefined, 2)}\n`)
    renameSync(`${target}.new`, target)
    removeOldest(directory)
    return true
  } catch {
    return false
  }
}

function writeSynced(path: string, text: string): void {
  const file = openSync(path, 'w')
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Ids begin with the time: their order is that of the crashes. */
function removeOldest(directory: string): void {
  const dumps = readdirSync(directory).filter((name) => name.includes('Z_'))
  for (const name of dumps.sort().slice(0, -dumpsMax)) rmSync(join(directory, name), { recursive: true, force: true })
}

function stackOf(cause: unknown): string {
  if (!(cause instanceof Error)) return cause === undefined ? '' : String(cause)
  const below = cause.cause === undefined ? '' : `\ncaused by ${stackOf(cause.cause)}`
  return `${cause.stack ?? cause.message}${below}`
}

/** Fields may hold anything: what JSON cannot take is told as text. */
function lineOf({ wallMs, level, subsystem, message, fields }: LogEvent): string {
  const head = { time: new Date(wallMs).toISOString(), level, subsystem, message }
  try {
    return `${JSON.stringify({ ...head, ...plain(fields ?? {}) })}\n`
  } catch {
    return `${JSON.stringify({ ...head, fields: String(fields) })}\n`
  }
}

function plain(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(fields)
  return Object.fromEntries(entries.map(([name, value]) => [name, value instanceof Error ? stackOf(value) : value]))
}
