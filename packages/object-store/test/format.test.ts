/** The bytes of docs/formats/object-store.md. A change here is a change of the format: raise a version. */
import { encode, hexEncode, type PgId } from '@shoal/base'
import { expect, test } from 'vitest'
import { loadChecksums } from '../src/checksum.ts'
import { decodeBody, encodeBody, recordHeaderBytes, sealRecord } from '../src/journal-record.ts'
import { bytesToKey, keys, keyToBytes, objectSortKey, onodeNumber, prefixEnd } from '../src/layout.ts'
import { encodeCollection, encodeState } from '../src/meta-store.ts'
import { decodeShard, encodeShard, newOnode, newShard, onodeCodec } from '../src/onode.ts'
import { seal, unseal } from '../src/sealed-value.ts'
import { decodeSuperblock, encodeSuperblock } from '../src/superblock.ts'
import { text } from './reference-store.ts'
import { objectId } from './workload.ts'

const checksums = await loadChecksums()
const hex = (key: string): string => hexEncode(keyToBytes(key))

test('superblock', () => {
  const superblock = {
    storeUuid: new Uint8Array(16).fill(0xa1),
    clusterUuid: new Uint8Array(16).fill(0xb2),
    nonce: 0x1234567,
    compatible: 0,
    incompatible: 0,
    dataBytes: 1 << 20,
    journalBytes: 1 << 18,
  }
  const bytes = encodeSuperblock(checksums, superblock)
  expect(hexEncode(bytes)).toMatchInlineSnapshot(
    `"53484253010000000000000000000000a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b26745230100000000000010000000000000000400000000004ad1fa63b2fe1fbb"`,
  )
  expect(decodeSuperblock(checksums, bytes)).toEqual(superblock)
  for (let at = 0; at < bytes.length; at++) {
    const bad = bytes.slice()
    bad[at] = (bad[at] as number) ^ 0x10
    expect(() => decodeSuperblock(checksums, bad)).toThrow()
  }
})

test('journal record', () => {
  const items = [
    {
      kind: 'blocks' as const,
      collection: '1.0' as PgId,
      object: objectId('o'),
      sizeBytes: 8192,
      runs: [{ firstBlock: 0, count: 2, unit: 5, inline: true, poisoned: false, checksums: [1, 2], blob: undefined }],
    },
    { kind: 'touch' as const, collection: '1.0' as PgId, object: objectId('t') },
  ]
  const { buffer, bodyBytes } = encodeBody(items)
  sealRecord(checksums, buffer, { bodyBytes, payloadBytes: 8192, sequence: 9, groupSequence: 8, epoch: 3, nonce: 77 })
  expect(buffer.length).toBe(512)
  expect(hexEncode(buffer.subarray(0, recordHeaderBytes + bodyBytes))).toMatchInlineSnapshot(
    `"53484a317600000000200000000000000900000000000000080000000000000003000000000000004d00000000000000f779cb52aee16ad201020000000203000000312e3001000000000000006f00000000000000010000006fffffffffffff00000020000000000000010000000000000002000000050000000101000000020000000101010000000503000000312e30010000000000000074000000000000000100000074ffffffffffff0000"`,
  )
  expect(decodeBody(buffer.subarray(recordHeaderBytes, recordHeaderBytes + bodyBytes))).toEqual(items)
})

const blob = { algorithm: 'zlib' as const, count: 4, sizeBytes: 9000, units: [9, 10, 12], checksums: [1, 2, 3] }

test('blobs: in a journal record, a block map, a collection', () => {
  const run = { firstBlock: 4, count: 4, unit: 9, inline: true, poisoned: false, checksums: blob.checksums, blob }
  const item = {
    kind: 'blocks' as const,
    collection: '1.0' as PgId,
    object: objectId('o'),
    sizeBytes: 32_768,
    runs: [run],
  }
  const { buffer, bodyBytes } = encodeBody([item])
  const body = buffer.subarray(recordHeaderBytes, recordHeaderBytes + bodyBytes)
  expect(hexEncode(body)).toMatchInlineSnapshot(
    `"02010000000203000000312e3001000000000000006f00000000000000010000006fffffffffffff00000080000000000000010000000400000004000000090000000501282300000209000000020c00000001010000000200000003000000"`,
  )
  expect(decodeBody(body)).toEqual([item])
  const shard = newShard(0)
  shard.units[5] = 7
  shard.checksums[5] = 21
  shard.blobs = [{ first: 4, live: 0b1101, blob }]
  expect(hexEncode(encodeShard(shard))).toMatchInlineSnapshot(
    `"020001050107000000150000000104040d00000001282300000209000000020c00000001010000000200000003000000"`,
  )
  expect(decodeShard(encodeShard(shard))).toEqual(shard)
  for (const bad of [
    { first: 4, live: 0b1111, blob },
    { first: 4, live: 0, blob },
    { first: 61, live: 1, blob },
    { first: 4, live: 1, blob: { ...blob, sizeBytes: 13_000 } },
    { first: 4, live: 1, blob: { ...blob, count: 3 } },
    { first: 4, live: 1, blob: { ...blob, count: 33 } },
  ]) {
    shard.blobs = [bad]
    expect(() => decodeShard(encodeShard(shard))).toThrow(/malformed/)
  }
  expect(hexEncode(encodeCollection(true, 7, { blocks: 3, bytes: 9000, units: 3 }))).toMatchInlineSnapshot(
    `"02010700000000000000030000000000000028230000000000000300000000000000"`,
  )
})

test('records of level', () => {
  expect(
    hexEncode(encodeState({ epoch: 2, tailOffset: 512, tailSequence: 7, clean: true, damaged: false })),
  ).toMatchInlineSnapshot(`"0101020000000000000000020000000000000700000000000000"`)
  expect(hexEncode(encodeCollection(true, 7))).toMatchInlineSnapshot(`"01010700000000000000"`)
  expect(hex(objectSortKey(objectId('a\0b')))).toMatchInlineSnapshot(
    `"c136800000006100016200000000ffffffffffff0000000000000001"`,
  )
  expect(hex(keys.shard(onodeNumber(258, 3), 1))).toMatchInlineSnapshot(`"420000000000000102000300000001"`)
  const shard = newShard(0)
  for (const [at, unit] of [
    [0, 7],
    [1, 8],
    [63, 2],
  ] as const) {
    shard.units[at] = unit
    shard.checksums[at] = unit * 3
  }
  expect(hexEncode(encodeShard(shard))).toMatchInlineSnapshot(
    `"0100020002070000003f0102000000150000001800000006000000"`,
  )
  expect(decodeShard(encodeShard(shard))).toEqual(shard)
  const onode = { ...newOnode(objectId('o'), onodeNumber(1, 0), 0), sizeBytes: 5, xattrs: new Map([['x', text('v')]]) }
  expect(hexEncode(encode(onodeCodec, onode))).toMatchInlineSnapshot(
    `"01014a0000000000000000000001000001000000000000006f00000000000000010000006fffffffffffff00000500000000000000000000000000000000010000000100000078010000007600000000"`,
  )
  const sealed = seal(checksums, 'Mkey', text('value'))
  expect(hexEncode(sealed.value)).toMatchInlineSnapshot(`"76616c75652cb66218"`)
  expect(unseal(checksums, sealed.key, sealed.value)).toEqual(text('value'))
  expect(() => unseal(checksums, text('Mkez'), sealed.value)).toThrow(/damaged/)
})

test('keys of bytes', () => {
  expect(bytesToKey(keyToBytes('\0\u00ff\u007f'))).toBe('\0\u00ff\u007f')
  expect(prefixEnd('a\u00ff')).toBe('b')
  expect(prefixEnd('\u00ff')).toBeUndefined()
})
