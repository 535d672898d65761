/** The bytes of docs/formats/block-image.md that those who have an image open leave in its header, and send each other. */
import { hexEncode, utf8Decode, utf8Encode } from '@shoal/base'
import { encodeNotice, pauseImage } from '@shoal/block'
import { expect, test } from 'vitest'
import { contentOf, putSnapshot } from '../src/group-record.ts'
import { decodeAnswer, decodeNotice, encodeAnswer } from '../src/header-notice.ts'
import { breakImageLock } from '../src/image-lock.ts'
import { MemoryCluster } from './memory-cluster.ts'

const quiesce = '01011100000001080000003031323334353637'

test('notices and answers', () => {
  expect(hexEncode(encodeNotice('quiesce', '01234567', 5_000))).toBe(`${quiesce}88130000`)
  expect(hexEncode(encodeNotice('request-lock'))).toBe('010109000000030000000000000000')
  expect(decodeNotice(encodeNotice('quiesce', '01234567', 5_000))).toEqual({
    kind: 'quiesce',
    pauseId: '01234567',
    pauseMs: 5_000,
  })
  expect(hexEncode(encodeAnswer('releasing'))).toBe('01010100000003')
  expect(decodeAnswer(encodeAnswer('uncertain'))).toBe('uncertain')
})

test('a notice of a newer version is not understood, and not taken for another', () => {
  const newer = encodeNotice('quiesce', 'x', 1)
  newer[6] = 77
  expect(decodeNotice(newer)).toBeUndefined()
  expect(decodeAnswer(utf8Encode('nonsense'))).toBe('unknown-notice')
})

test('a group snapshot', () => {
  const snapshot = { id: 'ab', name: 'monday', state: 'complete', createdMs: 1, images: ['cd'] } as const
  const op = putSnapshot(snapshot)
  const [entry] = op.kind === 'omap-set' ? op.entries : []
  const [id, name, image] = ['020000006162', '060000006d6f6e646179', '020000006364']
  expect(hexEncode(entry?.value ?? utf8Encode('?'))).toBe(`010123000000${id}${name}01000000000000f03f01000000${image}`)
  expect(
    contentOf(new Map([[utf8Decode(entry?.key ?? utf8Encode('?')), entry?.value ?? utf8Encode('?')]])).snapshots,
  ).toEqual([snapshot])
})

test('the records in the header', async () => {
  const cluster = new MemoryCluster()
  const client = cluster.client()
  const { time } = cluster
  const { id } = await time.settle(client.store.create('disk', 4096))
  const omap = (key: string): string => {
    const entry = cluster.objects.objects.get(`block_header.${id}`)?.omap.get(hexEncode(utf8Encode(key)))
    return hexEncode(entry?.value ?? utf8Encode('?'))
  }
  await time.settle(pauseImage({ env: client.env, io: client, fencer: client }, id))
  expect(omap('pause')).toMatch(/^01012000000010000000[0-9a-f]{32}650000000000000088130000$/)
  const other = cluster.client()
  const holder = { client: other.session, cookie: 'auto x', description: '' }
  cluster.locks.set(`block_header.${id}`, {
    name: 'block_lock',
    mode: 'exclusive',
    tag: '',
    holders: [{ ...holder, expiresMs: 0 }],
  })
  await time.settle(breakImageLock({ io: client, fencer: client }, id, holder))
  expect(omap('fence')).toBe('01010400000002000000')
})
