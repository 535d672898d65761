import { decode, encode, type PgId } from '@shoal/base'
import { describe, expect, test } from 'vitest'
import { encodeLogEntry, logEntryCodec, PgLog } from '../src/pg-log.ts'
import { setLogEntries } from '../src/pg-store.ts'
import { entry, version } from './support.ts'

describe('the encoding of log entries', () => {
  const a = entry("modify 4'1 a")
  const b = entry("delete 5'2 some-longer-name 4'1")

  test('is of the entry that is asked for, whichever was encoded or decoded before', () => {
    const encodedA = encodeLogEntry(a).slice()
    const encodedB = encodeLogEntry(b).slice()
    expect(decode(logEntryCodec, encodedA)).toEqual(a)
    expect(decode(logEntryCodec, encodedB)).toEqual(b)
    expect(encode(logEntryCodec, a)).toEqual(encodedA)
    decode(logEntryCodec, encodedA)
    expect(encode(logEntryCodec, b)).toEqual(encodedB)
  })

  test('a replica stores what it received, fields that it does not know included', () => {
    const newer = encodeLogEntry(a).slice()
    const longer = new Uint8Array([...newer, 1, 2, 3])
    // Version 3, still readable by version 1, with three bytes more.
    longer[0] = 3
    new DataView(longer.buffer).setUint32(2, longer.length - 6, true)
    const read = decode(logEntryCodec, longer)
    expect(read).toEqual(a)
    expect(encodeLogEntry(read)).toEqual(longer)
  })
})

describe('the length of a log', () => {
  const names = ['a', 'n'.repeat(2_000), 'ü'.repeat(600), '網'.repeat(300)]
  const entries = Array.from({ length: 40 }, (_, at) => entry(`modify 4'${at + 1} ${names[at % names.length]}`))

  test('in bytes is at least what its entries take in the store', () => {
    const step = setLogEntries('1.0' as PgId, entries)
    const stored = step.kind === 'meta-set' ? step.entries : []
    const bytes = stored.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
    expect(new PgLog(version("0'0"), entries).bytes).toBeGreaterThanOrEqual(bytes)
  })

  test('is cut to so many entries and so many bytes', () => {
    const log = new PgLog(version("0'0"), entries)
    expect(log.trimPoint(40, log.bytes)).toBeUndefined()
    expect(log.trimPoint(30, log.bytes)).toEqual(version("4'10"))
    const half = log.bytes / 2
    log.trim(log.trimPoint(40, half) ?? version("0'0"), 0)
    expect(log.bytes).toBeLessThanOrEqual(half)
    expect(log.length).toBeGreaterThan(15)
    expect(log.bytes).toBe(new PgLog(log.tail, log.all()).bytes)
  })
})
