/**
 * What must hold of any history of client operations, whatever happened to the cluster.
 *
 * Appends: the final contents hold every acknowledged token once and no token twice; every read saw a prefix of them, and
 * what ended before an operation began was seen by it. Registers: versions give the order of writes; a read returns the
 * value of the version it names, and never an older one than what had ended before it began.
 */
import type { HistoryEntry } from './simulated-client.ts'

export function checkHistory(history: readonly HistoryEntry[], final: ReadonlyMap<string, string>): readonly string[] {
  const problems: string[] = []
  const byObject = new Map<string, HistoryEntry[]>()
  for (const entry of history) {
    const entries = byObject.get(entry.object)
    if (entries === undefined) byObject.set(entry.object, [entry])
    else entries.push(entry)
  }
  for (const [name, entries] of byObject) {
    if (name.startsWith('log')) checkAppends(name, entries, final.get(name) ?? '', problems)
    else checkRegister(name, entries, problems)
  }
  return problems
}

function describe(entry: HistoryEntry): string {
  const { client, object, intent, beganAt, endedAt, errno, version, data } = entry
  const value =
    intent.kind === 'append'
      ? intent.token
      : intent.kind === 'put' || intent.kind === 'create'
        ? intent.value.slice(0, 8)
        : ''
  return `client.${client} ${intent.kind} ${object} ${value} [${beganAt.toFixed(1)}, ${endedAt?.toFixed(1)}] errno ${errno} version ${version} read ${data.length}:${data.slice(0, 8)}`
}

function checkAppends(name: string, entries: readonly HistoryEntry[], final: string, problems: string[]): void {
  const positions = new Map<string, number>()
  for (let at = 0; at < final.length; at += 8) {
    const token = final.slice(at, at + 8)
    if (positions.has(token)) problems.push(`${name}: ${token} was applied twice`)
    positions.set(token, at)
  }
  /** Bytes that an operation shows to exist. */
  const extentOf = (entry: HistoryEntry): number =>
    entry.intent.kind === 'append' ? (positions.get(entry.intent.token) ?? 0) + 8 : entry.data.length
  for (const entry of entries) {
    if (entry.endedAt === undefined) continue
    if (entry.intent.kind === 'append') {
      if (entry.errno !== 0) problems.push(`${name}: an append failed: ${describe(entry)}`)
      else if (!positions.has(entry.intent.token))
        problems.push(`${name}: an acknowledged append is lost: ${describe(entry)}`)
    } else if (!final.startsWith(entry.data)) {
      problems.push(`${name}: a read saw what is not in the end: ${describe(entry)}`)
    }
  }
  checkOrder(name, entries, extentOf, (entry) => entry.intent.kind === 'append', problems)
}

/** What ended before another began is not after it. `isWrite`: strictly before. */
function checkOrder(
  name: string,
  entries: readonly HistoryEntry[],
  placeOf: (entry: HistoryEntry) => number,
  isWrite: (entry: HistoryEntry) => boolean,
  problems: string[],
): void {
  const ended = entries.filter((entry) => entry.endedAt !== undefined)
  const byEnd = [...ended].sort((a, b) => (a.endedAt as number) - (b.endedAt as number))
  const byBegin = [...ended].sort((a, b) => a.beganAt - b.beganAt)
  let at = 0
  let newest: HistoryEntry | undefined
  for (const entry of byBegin) {
    while (at < byEnd.length && ((byEnd[at] as HistoryEntry).endedAt as number) < entry.beganAt) {
      const candidate = byEnd[at++] as HistoryEntry
      if (newest === undefined || placeOf(candidate) > placeOf(newest)) newest = candidate
    }
    if (newest === undefined) continue
    const stale = isWrite(entry) ? placeOf(entry) <= placeOf(newest) : placeOf(entry) < placeOf(newest)
    if (stale) problems.push(`${name}: stale: ${describe(entry)} began after the end of ${describe(newest)}`)
  }
}

function checkRegister(name: string, entries: readonly HistoryEntry[], problems: string[]): void {
  const writes = new Map<number, HistoryEntry>()
  for (const entry of entries) {
    if (entry.endedAt === undefined || entry.errno !== 0 || entry.intent.kind === 'read') continue
    const other = writes.get(entry.version)
    if (other !== undefined)
      problems.push(`${name}: two writes with one version: ${describe(entry)}, ${describe(other)}`)
    writes.set(entry.version, entry)
  }
  const values = new Set(
    entries.flatMap(({ intent }) => (intent.kind === 'put' || intent.kind === 'create' ? [intent.value] : [])),
  )
  const valueOfVersion = new Map<number, string>()
  for (const entry of entries) {
    if (entry.intent.kind !== 'read' || entry.endedAt === undefined) continue
    if (entry.errno !== 0) {
      if (entry.errno !== 2) problems.push(`${name}: a read failed: ${describe(entry)}`)
      else checkAbsent(name, entry, entries, problems)
      continue
    }
    const known = writes.get(entry.version)?.intent
    const expected = known?.kind === 'put' || known?.kind === 'create' ? known.value : undefined
    const seen = valueOfVersion.get(entry.version) ?? expected
    if (seen !== undefined && seen !== entry.data)
      problems.push(`${name}: two values of one version: ${describe(entry)}`)
    valueOfVersion.set(entry.version, entry.data)
    if (!values.has(entry.data)) problems.push(`${name}: a read saw what nobody wrote: ${describe(entry)}`)
  }
  const placed = entries.filter((entry) => entry.errno === 0)
  checkOrder(
    name,
    placed,
    (entry) => entry.version,
    (entry) => entry.intent.kind !== 'read',
    problems,
  )
}

/** Absence needs a removal (or the beginning) that no write, ended before the read began, has followed. */
function checkAbsent(name: string, read: HistoryEntry, entries: readonly HistoryEntry[], problems: string[]): void {
  let newestWrite = 0
  for (const entry of entries) {
    const { intent } = entry
    if (entry.errno !== 0 || entry.endedAt === undefined || entry.endedAt >= read.beganAt || intent.kind === 'remove')
      continue
    newestWrite = Math.max(newestWrite, entry.version)
  }
  if (newestWrite === 0) return
  const explained = entries.some(
    ({ intent, errno, endedAt, version, beganAt }) =>
      intent.kind === 'remove' &&
      beganAt < (read.endedAt as number) &&
      errno === 0 &&
      (endedAt === undefined || version > newestWrite),
  )
  if (!explained) problems.push(`${name}: an acknowledged write is gone: ${describe(read)}, written at ${newestWrite}`)
}
