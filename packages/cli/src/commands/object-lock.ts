/** `shoal object lock ...`: advisory locks on objects (Ceph's `rados lock`). */
import { ClusterError } from '@shoal/base'
import { type LockHolder, lockModes, type ObjectLock } from '@shoal/wire'
import { type Command, Option } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { formatTable } from '../output/table.ts'
import { parseNumber } from '../output/units.ts'
import { addPoolOptions, poolHandle } from './pool-io.ts'

export function addLockCommands(object: Command): void {
  const lock = object.command('lock').description('advisory locks on an object')
  action(
    lock
      .command('get')
      .argument('<object>')
      .argument('<lock>', 'name of the lock')
      .addOption(new Option('--lock-type <type>', 'who else may hold it').choices(lockModes).default('exclusive'))
      .option('--lock-cookie <cookie>', 'tells the locks of one client apart', '')
      .option('--lock-tag <tag>', 'what it is used for: all holders of a shared lock agree on it', '')
      .option('--lock-description <text>', 'for people', '')
      .option('--lock-duration <seconds>', '0: until it is broken', '0')
      .description('take a lock for this command’s session, which no later command can give back but by breaking it'),
    async (context, [name = '', lockName = ''], options) => {
      const client = await context.client()
      await poolHandle(client, options).lock(name, lockName, {
        mode: options['lockType'] === 'shared' ? 'shared' : 'exclusive',
        cookie: String(options['lockCookie']),
        tag: String(options['lockTag']),
        description: String(options['lockDescription']),
        durationMs: parseNumber(String(options['lockDuration']), 'duration', 0, 1e9) * 1000,
      })
      context.print({ object: name, lock: lockName, client: client.session }, () => `held by client.${client.session}`)
    },
  )
  action(lock.command('ls').argument('<object>').description('locks that hold now'), (context, [name = ''], options) =>
    show(context, name, '', options),
  )
  action(
    lock.command('info').argument('<object>').argument('<lock>').description('who holds a lock'),
    (context, [name = '', lockName = ''], options) => show(context, name, lockName, options),
  )
  action(
    lock
      .command('break')
      .argument('<object>')
      .argument('<lock>')
      .argument('<client>', 'its holder, as `lock info` prints it')
      .option('--lock-cookie <cookie>', 'of the holder', '')
      .option('--fence <seconds>', 'fence the holder first, for so long: it may be at work still')
      .description('take a lock from its holder'),
    async (context, [name = '', lockName = '', holder = ''], options) => {
      const session = parseClient(holder)
      const client = await context.client()
      if (options['fence'] !== undefined) {
        await client.fence(session, parseNumber(String(options['fence']), 'seconds', 1, 1e9))
      }
      await poolHandle(client, options).breakLock(name, lockName, session, String(options['lockCookie']))
      context.print({ object: name, lock: lockName, broken: session }, () => `client.${session} holds it no more`)
    },
  )
  for (const command of lock.commands) addPoolOptions(command)
}

function parseClient(text: string): number {
  const session = Number(text.replace(/^client\./, ''))
  if (Number.isSafeInteger(session) && session > 0) return session
  throw new ClusterError('EINVAL', `'${text}' names no client`, { hint: 'as `lock info` prints it: client.4711' })
}

interface Row {
  readonly lock: ObjectLock
  readonly holder: LockHolder
}

async function show(
  context: CommandContext,
  name: string,
  lockName: string,
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const locks = await poolHandle(await context.client(), options).locks(name, lockName)
  if (lockName !== '' && locks.length === 0) {
    throw new ClusterError('ENOENT', `nobody holds lock '${lockName}' on ${name}`, {
      hint: `shoal object lock ls ${name}`,
    })
  }
  const rows = locks.flatMap((lock) => lock.holders.map((holder): Row => ({ lock, holder })))
  context.print(locks, () =>
    formatTable(
      [
        { title: 'LOCK', cell: ({ lock }) => lock.name },
        { title: 'TYPE', cell: ({ lock }) => lock.mode },
        { title: 'TAG', cell: ({ lock }) => lock.tag },
        { title: 'HOLDER', cell: ({ holder }) => `client.${holder.client}` },
        { title: 'COOKIE', cell: ({ holder }) => holder.cookie },
        {
          title: 'UNTIL',
          cell: ({ holder }) => (holder.expiresMs === 0 ? '-' : new Date(holder.expiresMs).toISOString()),
        },
        { title: 'DESCRIPTION', cell: ({ holder }) => holder.description },
      ],
      rows,
    ),
  )
}
