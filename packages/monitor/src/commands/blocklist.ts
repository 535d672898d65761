/**
 * Fencing of client sessions. A fence is part of the OSD map: an OSD that has the epoch refuses the session, and whoever
 * fenced it names that epoch with its next operations, so that no OSD serves both. docs/mechanisms/locks.md
 */
import { ClusterError } from '@shoal/base'
import { z } from 'zod'
import { type Command, done, noArguments, numberArgument, readCommand, writeCommand } from './command.ts'

const defaultSeconds = 3600
const secondsMax = 10 * 365 * 86_400

const session = z.preprocess(
  // As `lock info` and `daemon ops` print it, with or without the kind.
  (value) => String(value).replace(/^client\./, ''),
  z.string().regex(/^[1-9]\d{0,15}$/, "a client session is a number, as in 'client.4711'"),
)

export const blocklistCommands: readonly Command[] = [
  readCommand('osd blocklist ls', noArguments, (_args, { map }) =>
    done(
      '',
      [...map.blocklist].map(([client, untilMs]) => ({ session: client, untilMs })),
    ),
  ),
  writeCommand(
    'osd blocklist add',
    z.object({
      session,
      seconds: numberArgument(z.number().positive().max(secondsMax)).default(defaultSeconds),
    }),
    (args, { draft, wallMs }) => {
      const untilMs = wallMs + args.seconds * 1000
      draft.osd.setBlocklist(args.session, untilMs)
      draft.log('warn', `client.${args.session} is fenced for ${args.seconds} s`)
      return done(`client.${args.session} is fenced until ${new Date(untilMs).toISOString()}`, {
        session: args.session,
        untilMs,
        epoch: draft.osd.epoch,
      })
    },
  ),
  writeCommand('osd blocklist rm', z.object({ session }), (args, { draft }) => {
    if (!draft.map.blocklist.has(args.session)) {
      throw new ClusterError('ENOENT', `client.${args.session} is not fenced`, { hint: 'shoal osd blocklist ls' })
    }
    draft.osd.setBlocklist(args.session, null)
    draft.log('warn', `client.${args.session} is fenced no more`)
    return done(`client.${args.session} is fenced no more`)
  }),
  writeCommand('osd blocklist clear', noArguments, (_args, { draft }) => {
    const sessions = [...draft.map.blocklist.keys()]
    for (const one of sessions) draft.osd.setBlocklist(one, null)
    return done(`removed ${sessions.length} entries`, { removed: sessions })
  }),
]
