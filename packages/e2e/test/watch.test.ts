/** Watches between real processes, through the library and the command, over the death of a primary. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { CommandContext } from '../../cli/src/context.ts'
import { shoal, type TestCluster } from './support/cluster.ts'
import { clusterWithClient } from './support/cluster-with-client.ts'

let cluster: TestCluster
let context: CommandContext

clusterWithClient((started) => {
  cluster = started.cluster
  context = started.context
})

interface Told {
  readonly watchers: readonly { readonly client: number; readonly state: string; readonly data: string }[]
}

describe('a watcher', () => {
  test('is told by the command, also by the next primary, and answers', async () => {
    const client = await context.client()
    const pool = client.pool('objects')
    await pool.writeFull('header', Buffer.from('x'))
    const seen: string[] = []
    const errors: unknown[] = []
    const handlers: Parameters<typeof pool.watch>[1] = {
      onNotify: ({ data }) => {
        seen.push(Buffer.from(data).toString())
        return Buffer.from(`seen ${seen.length}`)
      },
      onError: (error) => errors.push(error),
    }
    const watch = await pool.watch('header', handlers)
    expect(await cluster.json('object', 'listwatchers', 'header')).toMatchObject([{ client: client.session }])
    const answers = (told: Told): unknown => told.watchers
    const mine = (data: string): unknown => [{ client: client.session, state: 'acknowledged', data }]
    expect(answers(await cluster.json<Told>('object', 'notify', 'header', 'one'))).toMatchObject(
      mine('seen 1') as object,
    )

    const { actingPrimary } = await cluster.json<{ readonly actingPrimary: number }>('osd', 'map', 'objects', 'header')
    await cluster.signal(`osd.${actingPrimary}`, 'SIGKILL')
    expect(
      answers(await cluster.json<Told>('object', 'notify', 'header', 'two', '--notify-timeout', '60')),
    ).toMatchObject(mine('seen 2') as object)
    await cluster.untilHealthy()
    await watch.close()
    expect(await cluster.json<Told>('object', 'notify', 'header', 'three')).toMatchObject({ watchers: [] })
    expect([seen, errors]).toEqual([['one', 'two'], []])
  }, 180_000)

  test('may be the command itself', async () => {
    const words = [shoal, '--data', cluster.directory, '--format', 'json', 'object', 'watch', 'header']
    const watching = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    watching.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    await cluster.until('the command watches', async () => output.includes('"watching"'))
    expect(await cluster.ok('object', 'notify', 'header', 'hello')).toContain('acknowledged')
    await cluster.until('the command was told', async () => output.includes('hello'))
    watching.kill('SIGINT')
    expect(await once(watching, 'exit')).toEqual([0, null])
    expect(await cluster.json('object', 'listwatchers', 'header')).toEqual([])
  }, 120_000)
})
