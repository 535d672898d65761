/** `shoal object watch|notify|listwatchers`: as `rados watch`, `rados notify` and `rados listwatchers`. */
import { once } from 'node:events'
import { utf8Decode, utf8Encode } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatTable } from '../output/table.ts'
import { parseNumber } from '../output/units.ts'
import { addPoolOptions, poolHandle } from './pool-io.ts'

export function addWatchCommands(object: Command): void {
  const commands = [watchCommand(object), notifyCommand(object), listCommand(object)]
  for (const command of commands) addPoolOptions(command)
}

function watchCommand(object: Command): Command {
  return action(
    object
      .command('watch')
      .argument('<object>')
      .option('--watch-timeout <seconds>', 'it is dropped after so long without a sign of life', '30')
      .description('print every notify of an object, until Ctrl-C'),
    async (context, [name = ''], options) => {
      const client = await context.client()
      const ended = new AbortController()
      const watch = await poolHandle(client, options).watch(
        name,
        {
          onNotify: ({ notifyId, notifier, data }) => {
            const text = utf8Decode(data)
            context.print(
              { notifyId, notifier, data: text },
              () => `notify ${notifyId} from client.${notifier}: ${text}`,
            )
            return undefined
          },
          onError: (error) => ended.abort(error),
        },
        { timeoutMs: parseNumber(String(options['watchTimeout']), 'timeout', 1, 3600) * 1000 },
      )
      context.print(
        { watching: name, client: client.session, cookie: watch.cookie },
        () => `watching ${name} as client.${client.session}, cookie ${watch.cookie}`,
      )
      const interrupted = new AbortController()
      const stop = (): void => interrupted.abort()
      process.once('SIGINT', stop).once('SIGTERM', stop)
      await Promise.race([once(interrupted.signal, 'abort'), once(ended.signal, 'abort')])
      if (ended.signal.aborted) throw ended.signal.reason
      await watch.close()
    },
  )
}

function notifyCommand(object: Command): Command {
  return action(
    object
      .command('notify')
      .argument('<object>')
      .argument('[message]', 'what the watchers are told', '')
      .option('--notify-timeout <seconds>', 'how long to wait for their answers', '10')
      .description('tell all watchers of an object, and wait until each has acknowledged'),
    async (context, [name = '', message = ''], options) => {
      const timeoutMs = parseNumber(String(options['notifyTimeout']), 'timeout', 0.001, 60) * 1000
      const pool = poolHandle(await context.client(), options)
      const { notifyId, acks, timedOut } = await pool.notify(name, utf8Encode(message), Math.ceil(timeoutMs))
      const rows = [
        ...acks.map((ack) => ({ ...ack, state: 'acknowledged', data: utf8Decode(ack.data) })),
        ...timedOut.map((watch) => ({ ...watch, state: 'timed out', data: '' })),
      ]
      context.print({ notifyId, watchers: rows }, () =>
        formatTable(
          [
            { title: 'WATCHER', cell: (row) => `client.${row.client}` },
            { title: 'COOKIE', cell: (row) => row.cookie },
            { title: 'STATE', cell: (row) => row.state },
            { title: 'REPLY', cell: (row) => row.data },
          ],
          rows,
        ),
      )
    },
  )
}

function listCommand(object: Command): Command {
  return action(
    object.command('listwatchers').argument('<object>').description('who watches an object'),
    async (context, [name = ''], options) => {
      const watchers = await poolHandle(await context.client(), options).listWatchers(name)
      context.print(watchers, () =>
        formatTable(
          [
            { title: 'WATCHER', cell: (row) => `client.${row.client}` },
            { title: 'COOKIE', cell: (row) => row.cookie },
            { title: 'TIMEOUT', cell: (row) => `${row.timeoutMs / 1000} s`, align: 'right' },
          ],
          watchers,
        ),
      )
    },
  )
}
