/** Snapshots of several images at one moment, under a writer elsewhere, and when who takes them dies at any step. */
import { type ClusterError, isClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import { ImageGroups, type ImageSession } from '@shoal/block'
import { beforeEach, describe, expect, test } from 'vitest'
import { type MemoryClient, MemoryCluster } from './memory-cluster.ts'

let cluster: MemoryCluster
let writer: MemoryClient

const groupsOf = (client: MemoryClient): ImageGroups =>
  new ImageGroups({ env: client.env, io: client, fencer: client, store: client.store })

async function prepare(): Promise<void> {
  cluster = new MemoryCluster()
  writer = cluster.client()
  const groups = groupsOf(writer)
  await run(groups.create('database'))
  for (const image of ['log', 'tables']) {
    await run(writer.store.create(image, 65_536, 4096))
    await run(groups.addImage('database', image))
  }
}
beforeEach(prepare)

function run<T>(work: Promise<T>): Promise<T> {
  return cluster.time.settle(work)
}

const write = (session: ImageSession, number: number): Promise<void> =>
  session.write(0, utf8Encode(String(number).padStart(8, '0')))

async function numberIn(spec: string): Promise<number> {
  const [piece] = await run(writer.store.open(spec).then((opened) => opened.read(0, 8)))
  return piece?.kind === 'data' ? Number(utf8Decode(piece.data)) : 0
}

function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: ClusterError) => error.code,
  )
}

describe('a group', () => {
  test('is made, listed and removed, and keeps its images apart from others', async () => {
    const groups = groupsOf(writer)
    expect(await run(groups.list())).toEqual(['database'])
    expect((await run(groups.info('database'))).images).toHaveLength(2)
    expect(await run(codeOf(groups.create('database')))).toBe('EEXIST')
    expect(await run(codeOf(groups.addImage('database', 'log')))).toBe('EEXIST')
    await run(groups.removeImage('database', 'log'))
    expect(await run(codeOf(groups.removeImage('database', 'log')))).toBe('ENOENT')
    await run(groups.createSnapshot('database', 'one'))
    expect(await run(codeOf(groups.remove('database')))).toBe('EBUSY')
    await run(groups.removeSnapshot('database', 'one'))
    expect(await run(writer.store.snapshots.list('tables'))).toEqual([])
    await run(groups.remove('database'))
    expect(await run(groups.list())).toEqual([])
    expect(await run(codeOf(groups.info('database')))).toBe('ENOENT')
  })

  test('rolls all of its images back', async () => {
    const groups = groupsOf(writer)
    const sessions = [await run(writer.open('log')), await run(writer.open('tables'))]
    for (const session of sessions) await run(write(session, 1))
    await run(groups.createSnapshot('database', 'one'))
    for (const session of sessions) {
      await run(write(session, 2))
      await run(session.close())
    }
    await run(groups.rollback('database', 'one', () => undefined))
    expect([await numberIn('log'), await numberIn('tables')]).toEqual([1, 1])
  })

  test('is changed by one at a time', async () => {
    const [one, other] = [groupsOf(cluster.client()), groupsOf(cluster.client())]
    const codes = await run(
      Promise.all([codeOf(one.createSnapshot('database', 'a')), codeOf(other.createSnapshot('database', 'b'))]),
    )
    expect(codes.sort()).toEqual(['EBUSY', 'done'])
  })
})

test('each snapshot shows a prefix of what one writer wrote to both images in turn', async () => {
  const log = await run(writer.open('log'))
  await run(write(log, 0))
  // By themselves they would look at their headers at different times.
  await cluster.time.advance(700)
  const tables = await run(writer.open('tables'))
  const over = new AbortController()
  let number = 0
  const writing = (async () => {
    for (number = 1; !over.signal.aborted; number++) {
      await write(log, number)
      await write(tables, number)
    }
  })()
  const names = Array.from({ length: 12 }, (_, i) => `s${i}`)
  const taken: { readonly before: number; readonly after: number; readonly id: string }[] = []
  const groups = groupsOf(cluster.client())
  for (const [i, name] of names.entries()) {
    await cluster.time.advance(20 + i * 3)
    const before = number
    const { id } = await run(groups.createSnapshot('database', name))
    taken.push({ before, after: number, id })
  }
  over.abort()
  await run(writing)
  for (const { before, after, id } of taken) {
    const [first, second] = [await numberIn(`log@group.${id}`), await numberIn(`tables@group.${id}`)]
    expect([first, first - 1]).toContain(second)
    expect(first).toBeGreaterThanOrEqual(before - 1)
    expect(first).toBeLessThanOrEqual(after)
  }
  expect(number).toBeGreaterThan(100)
  expect(cluster.fences.size).toBe(0)
})

test('who dies at any step of a snapshot leaves it complete, or to be seen as incomplete and taken away by the next', async () => {
  let complete = 0
  for (let at = 1; complete === 0; at++) {
    await prepare()
    const dying = cluster.client()
    const groups = groupsOf(dying)
    dying.mutationsLeft = at
    const died = await run(
      groups.createSnapshot('database', 'one').then(
        () => false,
        (error: unknown) => {
          if (isClusterError(error, 'ESHUTDOWN')) return true
          throw error
        },
      ),
    )
    const before = (await run(groupsOf(writer).info('database'))).snapshots
    expect(before.length).toBeLessThanOrEqual(1)
    if (before[0]?.state === 'complete') {
      for (const image of ['log', 'tables']) expect(await run(writer.store.snapshots.list(image))).toHaveLength(1)
    }
    // Its lock runs out; here by hand.
    cluster.locks.clear()
    const next = groupsOf(cluster.client())
    await run(next.createSnapshot('database', 'two'))
    const left = (await run(next.info('database'))).snapshots
    const expected = before[0]?.state === 'complete' ? ['one', 'two'] : ['two']
    expect(left.map(({ name, state }) => `${name} ${state}`)).toEqual(expected.map((name) => `${name} complete`))
    for (const image of ['log', 'tables']) {
      expect(await run(writer.store.snapshots.list(image))).toHaveLength(expected.length)
    }
    if (!died) complete = at
  }
  expect(complete).toBeGreaterThan(8)
})
