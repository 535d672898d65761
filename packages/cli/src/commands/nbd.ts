/** `shoal nbd ...`: images over NBD. `up` runs one gateway already; this runs another, anywhere. */
import { address, ClusterError, parseAddress } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { parseNumber } from '../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from './pool-io.ts'

export function addNbdCommands(program: Command): void {
  const nbd = program.command('nbd').description('block images over NBD')
  action(
    nbd
      .command('serve')
      .argument('[images...]', 'POOL/IMAGE; all images of --pool when left out')
      .option('--pool <pool>', 'the pool whose images are offered', defaultBlockPool)
      .option('--listen <address>', 'HOST:PORT; port 0 picks a free one', '127.0.0.1:0')
      .option('--exclusive', 'take the lock of an image when it is opened, and give it to nobody else meanwhile')
      .option('--io-timeout <seconds>', 'without an answer of the cluster for so long a request fails', '120')
      .description('serve images until Ctrl-C; the first one is also the default export'),
    serve,
  )
}

async function serve(
  context: CommandContext,
  words: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const listen = String(options['listen'])
  if (parseAddress(listen) === undefined) {
    throw new ClusterError('EINVAL', `not an address: ${listen}`, { hint: '--listen 127.0.0.1:10810' })
  }
  const named = words.map((word) => parsePoolAndName(word, String(options['pool'])))
  const images = named.map(({ pool, name }) => `${pool}/${name}`)
  const timeoutMs = parseNumber(String(options['ioTimeout']), 'timeout', 1, 86_400) * 1000
  const [{ ClusterImages, ImageExports, NbdServer }, env] = await Promise.all([
    import('@shoal/gateway-nbd'),
    context.env(),
  ])
  const pools = images.length === 0 ? [String(options['pool'])] : [...new Set(named.map(({ pool }) => pool))]
  // Known before anything listens: a client never meets a gateway that cannot serve.
  if (images.length === 0) await (await imageStore(context, pools[0] as string)).list()
  for (const { pool, name } of named) await (await imageStore(context, pool)).info(name)
  const source = new ClusterImages({
    env,
    connect: () => context.connectClient(),
    exclusive: options['exclusive'] === true,
    description: `shoal nbd serve, process ${process.pid}`,
    timeoutMs,
  })
  const exports = new ImageExports({
    pools: () => pools,
    ...(images.length === 0 ? {} : { only: images, defaultExport: images[0] as string }),
    source,
  })
  const server = new NbdServer(env, exports)
  const listening = await server.listen(address(listen))
  const urls =
    images.length === 0
      ? [`nbd://${listening}/${pools[0]}/IMAGE`]
      : images.map((image) => `nbd://${listening}/${image}`)
  // Before anybody can know that we are here: a signal that comes at once is a clean end too.
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
  })
  context.print({ address: listening, urls }, () => urls.join('\n'))
  await ended
  await server.close()
  await exports.close()
  await source.close()
}
