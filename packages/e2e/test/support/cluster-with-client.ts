/** A cluster for all tests of a file, and what the command has of it inside: the library's client. */
import { afterAll, beforeAll } from 'vitest'
import { CommandContext } from '../../../cli/src/context.ts'
import { TestCluster } from './cluster.ts'

export interface ClusterWithClient {
  readonly cluster: TestCluster
  readonly context: CommandContext
}

/** Started before the first test and removed after the last. `onStarted` keeps it for the tests. */
export function clusterWithClient(onStarted: (started: ClusterWithClient) => void): void {
  let cluster: TestCluster | undefined
  let context: CommandContext | undefined
  beforeAll(async () => {
    cluster = await TestCluster.create()
    context = new CommandContext({ data: cluster.directory, format: 'json', timeout: 60 })
    onStarted({ cluster, context })
  }, 120_000)
  afterAll(async () => {
    await context?.close()
    await cluster?.destroy()
  }, 60_000)
}
