/** `shoal osd erasure-code-profile ...`: how erasure-coded pools cut objects into shards. */
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatPairs } from '../output/table.ts'

export function addErasureProfileCommands(osd: Command): void {
  const profile = osd.command('erasure-code-profile').description('how erasure-coded pools cut objects into shards')
  action(
    profile
      .command('set')
      .argument('<name>')
      .argument('[words...]', 'k=4 m=2 crush-failure-domain=host stripe_unit=4K ...')
      .option('--force', 'change one that is there; pools that were made from it keep theirs')
      .description('define a profile for new pools'),
    async (context, [name, ...words], options) =>
      context.done(
        await context.command({
          prefix: 'osd erasure-code-profile set',
          name,
          profile: words,
          force: options['force'] === true,
        }),
      ),
  )
  action(profile.command('get').argument('<name>').description('its words'), async (context, [name]) => {
    const data = (await context.command({ prefix: 'osd erasure-code-profile get', name })).data as object
    context.print(data, () =>
      formatPairs(Object.entries(data).map(([key, value]) => [`${key}:`, String(value) || '-'])),
    )
  })
  action(profile.command('ls').description('profiles'), async (context) => {
    const { data } = await context.command({ prefix: 'osd erasure-code-profile ls' })
    context.print(data, () => (data as readonly string[]).join('\n'))
  })
  action(
    profile.command('rm').argument('<name>').description('remove one that no pool was made from'),
    async (context, [name]) => context.done(await context.command({ prefix: 'osd erasure-code-profile rm', name })),
  )
}
