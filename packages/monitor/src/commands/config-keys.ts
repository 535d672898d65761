/**
 * Ceph's config-key store: small values by name, in the replicated state of the monitors. What lies there of OSDs are the
 * keys of their encrypted stores (`dm-crypt/osd/UUID/luks`), sealed by who put them there: to the monitors they are bytes.
 */
import { ClusterError, utf8Encode } from '@shoal/base'
import { z } from 'zod'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import { type Command, done, noArguments, readCommand, writeCommand } from './command.ts'

const valueBytesMax = 64 * 1024
const keysMax = 10_000
/** All names and values together: every snapshot of the state carries them to every monitor. */
const totalBytesMax = 8 * 1024 * 1024

const keyName = z.string().regex(/^[\x21-\x7e]{1,256}$/, 'a key has 1 to 256 characters, no blanks')

const setArguments = z.object({
  key: keyName,
  val: z.string().max(valueBytesMax),
  /** Only when there is none of that name. */
  exclusive: z.boolean().default(false),
})

export const configKeyCommands: readonly Command[] = [
  readCommand('config-key get', z.object({ key: keyName }), (args, { state }) => {
    const value = state.configKeys.get(args.key)
    if (value === undefined) throw missing(args.key)
    return done('', { key: args.key, value })
  }),
  readCommand('config-key exists', z.object({ key: keyName }), (args, { state }) => {
    if (!state.configKeys.has(args.key)) throw missing(args.key)
    return done(`key '${args.key}' exists`)
  }),
  readCommand('config-key ls', noArguments, (_args, { state }) => done('', [...state.configKeys.keys()].sort())),
  writeCommand('config-key set', setArguments, (args, { draft }) => {
    const keys = draft.configKeys()
    const before = keys.get(args.key)
    if (before === args.val) return done(`key '${args.key}' is set`)
    if (before !== undefined && args.exclusive) {
      throw new ClusterError('EEXIST', `key '${args.key}' has another value`, { hint: 'shoal config-key ls' })
    }
    if (before === undefined && keys.size >= keysMax) {
      throw new ClusterError('ENOSPC', `there are ${keysMax} config keys already`, { hint: 'shoal config-key rm KEY' })
    }
    // Who makes less of it is let through, also above the limit: an earlier version had none.
    const grows = bytesOf(args.key, args.val) > (before === undefined ? 0 : bytesOf(args.key, before))
    keys.set(args.key, args.val)
    const totalBytes = grows ? [...keys].reduce((sum, [key, value]) => sum + bytesOf(key, value), 0) : 0
    if (totalBytes > totalBytesMax) {
      throw new ClusterError('ENOSPC', `config keys would take ${totalBytes} bytes together, above ${totalBytesMax}`, {
        hint: 'they are for small things: shoal config-key ls, shoal config-key rm KEY',
      })
    }
    draft.setConfigKey(args.key, args.val)
    return done(`key '${args.key}' is set`)
  }),
  writeCommand('config-key rm', z.object({ key: keyName }), (args, { draft }) => {
    if (!draft.configKeys().has(args.key)) return done(`there is no key '${args.key}'`)
    draft.setConfigKey(args.key, undefined)
    return done(`key '${args.key}' is removed`)
  }),
]

/** Without its key nothing in the store of an OSD can be read any more: that it was given up is final. */
export function forgetStoreKeys(draft: ProposalDraft, uuid: string): void {
  if (uuid === '') return
  const prefix = `dm-crypt/osd/${uuid}/`
  for (const key of draft.configKeys().keys()) if (key.startsWith(prefix)) draft.setConfigKey(key, undefined)
}

function bytesOf(key: string, value: string): number {
  return utf8Encode(key).length + utf8Encode(value).length
}

function missing(key: string): ClusterError {
  return new ClusterError('ENOENT', `there is no config key '${key}'`, { hint: 'shoal config-key ls' })
}
