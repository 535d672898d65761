/** `shoal nbd ...`: images over NBD. `up` runs one gateway already; this runs another, anywhere. */
import { type Address, address, ClusterError, parseAddress } from '@shoal/base'
import type { ImageExportsOptions } from '@shoal/gateway-nbd'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { nbdLimits, socketAddress, tlsOffer } from '../nbd-options.ts'
import { parseBytes, parseInteger, parseNumber } from '../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from './pool-io.ts'

type Options = Readonly<Record<string, unknown>>

export function addNbdCommands(program: Command): void {
  const nbd = program.command('nbd').description('block images over NBD')
  action(
    nbd
      .command('serve')
      .argument('[images...]', 'POOL/IMAGE or POOL/IMAGE@SNAPSHOT; all images of --pool when left out')
      .option('--pool <pool>', 'the pool whose images are offered', defaultBlockPool)
      .option('--listen <address>', 'HOST:PORT; port 0 picks a free one', '127.0.0.1:0')
      .option('--socket <path>', 'listen on a socket in the file system instead')
      .option('--read-only', 'let nobody write')
      .option('--exclusive', 'take the lock of an image when it is opened, and give it to nobody else meanwhile')
      .option('--io-timeout <seconds>', 'without an answer of the cluster for so long a request fails', '120')
      .option('--tls <mode>', 'off, optional or required; required when there is a certificate')
      .option('--tls-certificate <file>', 'the certificate, PEM')
      .option('--tls-key <file>', 'the key of the certificate, PEM')
      .option('--tls-client-authority <file>', 'who must have signed the certificates of clients, PEM')
      .option('--max-connections <n>', 'in all', '1024')
      .option('--max-export-connections <n>', 'to one image', '256')
      .option('--max-inflight <size>', 'of reads and writes under way, in all', '512M')
      .option('--handshake-timeout <seconds>', 'for a client to choose an image', '20')
      .option('--idle-timeout <seconds>', 'hang up on who asks nothing for so long; 0: never', '0')
      .description('serve images until Ctrl-C; the first one is also the default export')
      .addHelpText(
        'after',
        `
Without a certificate what is read and written is seen by whoever sees the network, and anybody who reaches the address
may write. Listen on the loopback, on a socket, or with --tls-certificate, --tls-key and --tls-client-authority.`,
      ),
    serve,
  )
}

async function serve(context: CommandContext, words: readonly string[], options: Options): Promise<void> {
  const listen = listenAddress(options)
  const settings = {
    nbd_max_connections: parseInteger(String(options['maxConnections']), 'connections', 1),
    nbd_max_export_connections: parseInteger(String(options['maxExportConnections']), 'connections to one image', 1),
    nbd_inflight_bytes: parseBytes(String(options['maxInflight'])),
    nbd_handshake_timeout: parseInteger(String(options['handshakeTimeout']), 'handshake timeout', 1, 86_400),
    nbd_idle_timeout: parseInteger(String(options['idleTimeout']), 'idle timeout', 0, 30 * 86_400),
    nbd_drain_timeout: 10,
  }
  const text = (name: string): string => String(options[name] ?? '')
  const certificate = text('tlsCertificate')
  const tls = await tlsOffer({
    mode: text('tls') || (certificate === '' ? 'off' : 'required'),
    certificate,
    key: text('tlsKey'),
    clientAuthority: text('tlsClientAuthority'),
  })
  const [{ ClusterImages, ImageExports, NbdServer }, env] = await Promise.all([
    import('@shoal/gateway-nbd'),
    context.env(),
  ])
  const offered = await offeredImages(context, words, options)
  const source = new ClusterImages({
    env,
    connect: () => context.connectClient(),
    exclusive: options['exclusive'] === true,
    description: `shoal nbd serve, process ${process.pid}`,
    timeoutMs: parseNumber(String(options['ioTimeout']), 'timeout', 1, 86_400) * 1000,
  })
  const exports = new ImageExports({ ...offered, source })
  const server = new NbdServer(env, exports, {
    limits: () => nbdLimits(settings),
    ...(tls === undefined ? {} : { tls }),
  })
  const listening = await server.listen(listen)
  const names = offered.only ?? [`${offered.pools()[0]}/IMAGE`]
  const urls = names.map((name) => urlOf(name, listening, tls !== undefined))
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

function listenAddress(options: Options): Address {
  if (options['socket'] !== undefined) return socketAddress(String(options['socket']))
  const listen = String(options['listen'])
  if (parseAddress(listen) === undefined) {
    throw new ClusterError('EINVAL', `not an address: ${listen}`, { hint: '--listen 127.0.0.1:10810' })
  }
  return address(listen)
}

/** Known before anything listens: a client never meets a gateway that cannot serve. */
async function offeredImages(
  context: CommandContext,
  words: readonly string[],
  options: Options,
): Promise<Omit<ImageExportsOptions, 'source'>> {
  const pool = String(options['pool'])
  const named = words.map((word) => parsePoolAndName(word, pool))
  const images = named.map((one) => `${one.pool}/${one.name}`)
  const pools = images.length === 0 ? [pool] : [...new Set(named.map((one) => one.pool))]
  if (images.length === 0) await (await imageStore(context, pool)).list()
  for (const one of named) await (await imageStore(context, one.pool)).info(one.name)
  return {
    pools: () => pools,
    ...(images.length === 0 ? {} : { only: images, defaultExport: images[0] as string }),
    readOnly: options['readOnly'] === true,
  }
}

function urlOf(name: string, listening: Address, secure: boolean): string {
  const scheme = secure ? 'nbds' : 'nbd'
  return listening.startsWith('unix:')
    ? `${scheme}+unix:///${name}?socket=${listening.slice('unix:'.length)}`
    : `${scheme}://${listening}/${name}`
}
