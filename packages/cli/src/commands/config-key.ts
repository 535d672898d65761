/** `shoal config-key ...`: small values that the monitors keep by name, the keys of encrypted stores among them. */
import type { Command } from 'commander'
import { action } from '../action.ts'

export function addConfigKeyCommands(program: Command): void {
  const configKey = program.command('config-key').description('small values that the monitors keep by name')
  action(configKey.command('ls').description('names'), async (context) => {
    const names = (await context.command({ prefix: 'config-key ls' })).data as readonly string[]
    context.print(names, () => names.join('\n'))
  })
  action(configKey.command('get').argument('<key>').description('a value'), async (context, [key]) => {
    const data = (await context.command({ prefix: 'config-key get', key })).data as { readonly value: string }
    context.print(data, () => data.value)
  })
  action(
    configKey.command('set').argument('<key>').argument('<value>').description('keep a value'),
    async (context, [key, val]) => context.done(await context.command({ prefix: 'config-key set', key, val })),
  )
  action(configKey.command('rm').argument('<key>').description('forget a value'), async (context, [key]) =>
    context.done(await context.command({ prefix: 'config-key rm', key })),
  )
}
