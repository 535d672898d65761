/** The lock of an image between several clients: hand-over, fences, pauses, and what each of them must not do. */
import { type ClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import { breakImageLock, type ImageSession, pauseImage, readHeader, readLockHolder, replaceHeader } from '@shoal/block'
import { beforeEach, describe, expect, test } from 'vitest'
import { type MemoryClient, MemoryCluster } from './memory-cluster.ts'

const takeOverMsMax = 15_000
const leaseMs = 6_000

let cluster: MemoryCluster
let a: MemoryClient
let b: MemoryClient

beforeEach(async () => {
  cluster = new MemoryCluster()
  a = cluster.client()
  b = cluster.client()
  await run(a.store.create('disk', 65_536, 4096))
})

function run<T>(work: Promise<T>): Promise<T> {
  return cluster.time.settle(work)
}

const write = (session: ImageSession, text: string, at = 0): Promise<void> => session.write(at, utf8Encode(text))

async function read(session: ImageSession, length: number, at = 0): Promise<string> {
  const pieces = await run(session.read(at, length))
  return pieces.map((piece) => (piece.kind === 'data' ? utf8Decode(piece.data) : '')).join('')
}

function outcomeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: ClusterError) => error.code,
  )
}

const idOf = (session: ImageSession): string => session.image.header.id

describe('hand-over', () => {
  test('whoever writes gets the lock, and the other sees what was written', async () => {
    const [first, second] = [await run(a.open('disk')), await run(b.open('disk'))]
    await run(write(first, 'first'))
    expect(first.holdsLock).toBe(true)
    await run(write(second, 'SECOND', 10))
    expect([first.holdsLock, second.holdsLock]).toEqual([false, true])
    expect(await read(first, 16)).toBe('first\0\0\0\0\0SECOND')
    await run(write(first, 'third'))
    expect([first.holdsLock, second.holdsLock]).toEqual([true, false])
    expect(cluster.fences.size).toBe(0)
  })

  test('an owner finishes what it has begun before it gives the lock back', async () => {
    const [first, second] = [await run(a.open('disk')), await run(b.open('disk'))]
    await run(write(first, 'x'))
    a.delayMs = 2_000
    const slow = write(first, 'slow')
    a.delayMs = 0
    await run(write(second, 'late'))
    await run(slow)
    expect(await read(second, 4)).toBe('late')
    expect(cluster.fences.size).toBe(0)
  })

  test('two who write all the time both go on, and nobody is fenced', async () => {
    const sessions = [await run(a.open('disk')), await run(b.open('disk'))]
    const counts = [0, 0]
    const untilMs = cluster.time.nowMs + 20_000
    const lives = sessions.map(async (session, i) => {
      while (cluster.time.nowMs < untilMs) {
        await write(session, String(counts[i]).padStart(8), i * 8)
        counts[i] = (counts[i] ?? 0) + 1
      }
    })
    await run(Promise.all(lives))
    expect(Math.min(...counts)).toBeGreaterThan(1_000)
    expect(cluster.fences.size).toBe(0)
  })

  test('closing gives the lock back at once', async () => {
    const first = await run(a.open('disk'))
    await run(write(first, 'x'))
    await run(first.close())
    expect(await run(readLockHolder(b, idOf(first)))).toBeUndefined()
    expect(await outcomeOf(write(first, 'y'))).toBe('ESHUTDOWN')
  })

  test('an exclusive session keeps it, and so does who took it by hand', async () => {
    const first = await run(a.open('disk', { exclusive: true, description: 'the virtual machine' }))
    const second = await run(b.open('disk'))
    expect(await run(outcomeOf(write(second, 'x')))).toBe('EROFS')
    expect(await run(outcomeOf(b.open('disk', { exclusive: true })))).toBe('EROFS')
    await run(first.close())
    const lock = { kind: 'lock', name: 'block_lock', mode: 'exclusive', cookie: 'mine', tag: '' } as const
    await run(a.execute(`block_header.${idOf(first)}`, [{ ...lock, description: '', durationMs: 0, renew: 'no' }]))
    expect(await run(outcomeOf(write(second, 'x')))).toBe('EROFS')
    expect(cluster.fences.size).toBe(0)
  })
})

describe('take-over', () => {
  test('an owner that does not answer is fenced, and what it sent does not land after the next one wrote', async () => {
    const [first, second] = [await run(a.open('disk')), await run(b.open('disk'))]
    await run(write(first, 'old'))
    a.isDeaf = true
    a.delayMs = 60_000
    const late = outcomeOf(write(first, 'late'))
    const startMs = cluster.time.nowMs
    await run(write(second, 'new'))
    expect(cluster.time.nowMs - startMs).toBeLessThan(takeOverMsMax)
    expect(await run(late)).toBe('ESHUTDOWN')
    expect(await read(second, 4)).toBe('new')
    // It knows that it has lost, and does not try again when the fence is over.
    cluster.fences.clear()
    a.delayMs = 0
    expect(await run(outcomeOf(write(first, 'again')))).toBe('ESHUTDOWN')
  })

  test('who takes a lock that somebody else broke waits for the map with the fence', async () => {
    const third = cluster.client()
    const [first, second] = [await run(a.open('disk')), await run(b.open('disk'))]
    await run(write(first, 'old'))
    a.delayMs = 60_000
    const late = outcomeOf(write(first, 'late'))
    const holder = await run(readLockHolder(third, idOf(first)))
    await run(breakImageLock({ io: third, fencer: third }, idOf(first), holder ?? expect.fail('nobody holds it')))
    expect(b.epoch).toBe(1)
    await run(write(second, 'new'))
    expect(await run(late)).toBe('ESHUTDOWN')
    expect(await read(second, 4)).toBe('new')
  })

  test('an owner with a write of which nobody knows how it ended is fenced instead of asked', async () => {
    const [first, second] = [await run(a.open('disk')), await run(b.open('disk'))]
    await run(write(first, 'old'))
    cluster.objects.before = async (name) => {
      if (!name.startsWith('block_data')) return
      const { ClusterError } = await import('@shoal/base')
      throw new ClusterError('ETIMEDOUT', 'no answer', { outcome: 'unknown' })
    }
    expect(await run(outcomeOf(write(first, 'lost')))).toBe('ETIMEDOUT')
    cluster.objects.before = async () => undefined
    await run(write(second, 'new'))
    expect([...cluster.fences.keys()]).toEqual([a.session])
  })

  test('a lock that was broken without a fence is missed when the lease of the header is over', async () => {
    const first = await run(a.open('disk'))
    await run(write(first, 'old'))
    cluster.locks.clear()
    await cluster.time.advance(leaseMs + 1)
    let told: ClusterError | undefined
    first.onEnded = (error) => {
      told = error
    }
    expect(await run(outcomeOf(write(first, 'late')))).not.toBe('done')
    expect(told?.code).toBe('ESHUTDOWN')
    expect(await run(outcomeOf(write(first, 'later')))).toBe('ESHUTDOWN')
    expect(await run(b.open('disk')).then((session) => read(session, 4))).toBe('old')
  })
})

describe('a pause', () => {
  const pauseWith = (client: MemoryClient, session: ImageSession, pauseMs = 5_000) =>
    pauseImage({ env: client.env, io: client, fencer: client, pauseMs }, idOf(session))

  test('holds writes back wherever they come from, until it ends', async () => {
    const [first, second] = [await run(a.open('disk')), await run(b.open('disk'))]
    await run(write(first, 'before'))
    const pause = await run(pauseWith(cluster.client(), first))
    let written = 0
    const writes = [write(first, 'after '), write(second, 'after ', 4096)].map((work) => work.then(() => written++))
    await cluster.time.advance(3_000)
    expect(written).toBe(0)
    expect(await read(first, 6)).toBe('before')
    await run(pause.end())
    await run(Promise.all(writes))
    expect(await read(first, 6)).toBe('after ')
  })

  test('waits for the writes under way', async () => {
    const first = await run(a.open('disk'))
    await run(write(first, 'x'))
    a.delayMs = 1_500
    let isWritten = false
    const slow = write(first, 'slow').then(() => {
      isWritten = true
    })
    a.delayMs = 0
    await run(pauseWith(b, first))
    expect(isWritten).toBe(true)
    await run(slow)
  })

  test('ends by itself, and what it was for fails then', async () => {
    const first = await run(a.open('disk'))
    await run(write(first, 'before'))
    const pause = await run(pauseWith(b, first))
    const change = async (sizeBytes: number): Promise<unknown> => {
      const { header, stored } = await readHeader(b, idOf(first))
      return replaceHeader(b, { header, stored }, { ...header, sizeBytes }, [pause.guard])
    }
    await run(change(8192))
    await run(write(first, 'after '))
    expect(first.image.sizeBytes).toBe(8192)
    expect(await run(outcomeOf(change(4096)))).toBe('ECANCELED')
  })

  test('fences a writer that does not answer', async () => {
    const first = await run(a.open('disk'))
    await run(write(first, 'before'))
    a.isDeaf = true
    const pause = await run(pauseWith(b, first))
    expect(cluster.fences.has(a.session)).toBe(true)
    await run(pause.end())
  })

  test('of a client that died is taken away when its time is over', async () => {
    const [first, second] = [await run(a.open('disk')), await run(b.open('disk'))]
    await run(pauseWith(cluster.client(), first))
    // Nobody ends it. Who opened later never heard of it.
    const third = await run(cluster.client().open('disk'))
    const startMs = cluster.time.nowMs
    await run(Promise.all([write(third, 'c'), write(second, 'b', 1)]))
    expect(cluster.time.nowMs - startMs).toBeLessThan(takeOverMsMax)
    expect(await read(first, 2)).toBe('cb')
  })
})
