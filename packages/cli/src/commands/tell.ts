/** `shoal tell DAEMON METHOD...`: one call of a daemon's admin endpoint, wherever the daemon runs. */
import { ClusterError } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { askDaemon } from '../ask-daemon.ts'

export function addTellCommand(program: Command): void {
  action(
    program
      .command('tell')
      .argument('<daemon>', 'osd.3, mon.a, nbd.0')
      .argument('<words...>', 'a method (`help` lists them), and arguments: log level subsystem=ms level=10')
      .description('call the admin endpoint of a daemon'),
    async (context, [daemon, ...words]) => {
      const method = words.filter((word) => !word.includes('=')).join(' ')
      const input = Object.fromEntries(words.filter((word) => word.includes('=')).map(argument))
      if (method === '') throw new ClusterError('EINVAL', 'tell it what?', { hint: `shoal tell ${daemon} help` })
      const answer = await askDaemon(context, daemon as string, method, input)
      context.print(answer, () => JSON.stringify(answer, undefined, 2))
    },
  )
}

/** `count=5`; digits are a number. */
function argument(word: string): readonly [string, string | number] {
  const at = word.indexOf('=')
  const value = word.slice(at + 1)
  return [word.slice(0, at), /^\d+$/.test(value) ? Number(value) : value]
}
