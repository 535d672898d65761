/** `shoal osd key ...`: the keys of encrypted stores, and a copy of them outside of the cluster. */
import { readFileSync } from 'node:fs'
import { ClusterError } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import type { KeyBackup } from '../local/key-backup.ts'

type Options = Readonly<Record<string, unknown>>

export function addOsdKeyCommands(osd: Command): void {
  const key = osd.command('key').description('keys of encrypted stores')
  action(
    withPassphrase(key.command('backup').argument('<file>')).description(
      'write the keys of all encrypted stores to a file that opens with a passphrase',
    ),
    async (context, [file], options) => {
      const { writeKeyBackup } = await import('../local/key-backup.ts')
      const keys = await monitorKeys(context)
      if (keys.size === 0) throw new ClusterError('ENOENT', 'no store of this cluster is encrypted')
      const fsid = await fsidOf(context)
      await writeKeyBackup(file as string, readPassphrase(options), { fsid, keys })
      context.print({ file, keys: [...keys.keys()] }, () => `${keys.size} keys are in ${file}; keep it elsewhere`)
    },
  )
  action(
    withPassphrase(key.command('restore').argument('<file>')).description(
      'give keys back to monitors that lost them; keys that they have stay as they are',
    ),
    restore,
  )
}

export function withPassphrase(command: Command): Command {
  return command.option(
    '--passphrase-file <file>',
    'its first line is the passphrase of the backup (default: $SHOAL_PASSPHRASE)',
  )
}

/** Throws EINVAL when there is none. */
function readPassphrase(options: Options): string {
  const file = options['passphraseFile']
  const passphrase =
    file === undefined ? process.env['SHOAL_PASSPHRASE'] : readFileSync(String(file), 'utf8').split('\n')[0]
  if (passphrase !== undefined && passphrase !== '') return passphrase
  throw new ClusterError('EINVAL', 'the backup needs a passphrase', {
    hint: '--passphrase-file FILE, or SHOAL_PASSPHRASE in the environment',
  })
}

async function restore(context: CommandContext, [file]: readonly string[], options: Options): Promise<void> {
  const { readKeyBackup } = await import('../local/key-backup.ts')
  const backup = await readKeyBackup(file as string, readPassphrase(options))
  const fsid = await fsidOf(context)
  if (backup.fsid !== fsid) {
    throw new ClusterError('EINVAL', `${file} is of cluster ${backup.fsid}, this one is ${fsid}`)
  }
  const { sealStoreKey, storeKeyName } = await import('@shoal/osd')
  const secret = await context.secret()
  const { random } = await context.env()
  const known = await monitorKeys(context)
  const restored: string[] = []
  for (const [uuid, storeKey] of backup.keys) {
    if (known.has(uuid)) continue
    const val = sealStoreKey(random, secret, uuid, storeKey)
    await context.command({ prefix: 'config-key set', key: storeKeyName(uuid), val, exclusive: true })
    restored.push(uuid)
  }
  context.print({ restored }, () => `${restored.length} of ${backup.keys.size} keys were missing and are back`)
}

async function fsidOf(context: CommandContext): Promise<string> {
  return ((await context.command({ prefix: 'fsid' })).data as { readonly fsid: string }).fsid
}

/** All keys of stores that the monitors have, by the uuid of the OSD. */
async function monitorKeys(context: CommandContext): Promise<Map<string, Uint8Array>> {
  const { openStoreKey, uuidOfStoreKey } = await import('@shoal/osd')
  const names = (await context.command({ prefix: 'config-key ls' })).data as readonly string[]
  const keys = new Map<string, Uint8Array>()
  for (const name of names) {
    const uuid = uuidOfStoreKey(name)
    if (uuid === undefined) continue
    const { value } = (await context.command({ prefix: 'config-key get', key: name })).data as {
      readonly value: string
    }
    keys.set(uuid, openStoreKey(await context.secret(), uuid, value))
  }
  return keys
}

/** The backup that `--key-backup` names; undefined without the option. Throws as `readKeyBackup`, and without a passphrase. */
export async function namedKeyBackup(options: Options): Promise<KeyBackup | undefined> {
  const file = options['keyBackup']
  if (file === undefined) return undefined
  const { readKeyBackup } = await import('../local/key-backup.ts')
  return readKeyBackup(String(file), readPassphrase(options))
}

/** The key of one store that does not run: from a backup that is named, else from the monitors. */
export async function storeKeyFor(context: CommandContext, uuid: string, options: Options): Promise<Uint8Array> {
  const backup = await namedKeyBackup(options)
  const key = (backup?.keys ?? (await monitorKeys(context))).get(uuid)
  if (key !== undefined) return key
  const where = backup === undefined ? 'the monitors have' : `${String(options['keyBackup'])} has`
  throw new ClusterError('EACCES', `${where} no key for the encrypted store ${uuid}`, {
    hint: backup === undefined ? '--key-backup FILE takes it from a backup' : 'is it a later store?',
  })
}
