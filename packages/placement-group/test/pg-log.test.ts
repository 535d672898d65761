import { decode, encode } from '@shoal/base'
import { describe, expect, test } from 'vitest'
import { encodeLogEntry, logEntryCodec } from '../src/pg-log.ts'
import { entry } from './support.ts'

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
