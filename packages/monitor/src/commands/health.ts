/** Commands about health: what is wrong, what was, and what nobody wants to hear of for now. */
import { ClusterError } from '@shoal/base'
import { nearestTo, parseSeconds } from '@shoal/monitor-client'
import { z } from 'zod'
import { healthCodes, healthReport } from '../health/health-report.ts'
import { type Command, done, numberArgument, readCommand, writeCommand } from './command.ts'

const ttlMaxSeconds = 10 * 365 * 86_400

const code = z.string().transform((text, context) => {
  const upper = text.trim().toUpperCase()
  if (healthCodes.includes(upper)) return upper
  const near = nearestTo(
    upper.toLowerCase(),
    healthCodes.map((known) => known.toLowerCase()),
  )
  const hint = near.length === 0 ? 'shoal health detail' : near.map((known) => known.toUpperCase()).join(', ')
  context.addIssue({ code: 'custom', message: `there is no health check '${text}' (${hint})` })
  return z.NEVER
})

const seconds = z.union([z.string(), z.number()]).transform((value, context) => {
  const number = parseSeconds(String(value))
  if (number !== undefined && number > 0 && number <= ttlMaxSeconds) return number
  context.addIssue({ code: 'custom', message: 'a time like 30m, 4h, 2d' })
  return z.NEVER
})

export const healthCommands: readonly Command[] = [
  readCommand('health', z.object({ detail: z.unknown().optional() }), (_args, view) => {
    const report = healthReport(view)
    return done(report.status, report)
  }),
  readCommand(
    'health history',
    z.object({ num: numberArgument(z.number().int().min(1).max(1_000)).default(50), code: code.optional() }),
    (args, { operations }) => {
      const events = operations.healthHistory.filter((event) => args.code === undefined || event.code === args.code)
      return done('', events.slice(-args.num))
    },
  ),
  writeCommand(
    'health mute',
    z.object({ code, ttl: seconds.optional(), sticky: z.boolean().default(false) }),
    (args, view) => {
      const { draft } = view
      const { wallMs } = draft
      const check = healthReport(view).checks.find((one) => one.code === args.code)
      if (check === undefined && !args.sticky) {
        throw new ClusterError('ENOENT', `${args.code} is not failing now`, {
          hint: `shoal health mute ${args.code} --sticky mutes it beforehand`,
        })
      }
      const untilMs = args.ttl === undefined ? 0 : wallMs + args.ttl * 1_000
      const { severity = 'warning', summary = '', count = 0 } = check ?? {}
      const mute = { code: args.code, untilMs, sticky: args.sticky, count, severity, summary }
      const until = untilMs === 0 ? '' : ` until ${new Date(untilMs).toISOString()}`
      draft.operations.mute(mute)
      draft.operations.addHealthEvent({ wallMs, code: args.code, event: 'muted', severity, summary })
      draft.log('info', `health check ${args.code} is muted${until}`)
      return done(`${args.code} is muted${until}`, mute)
    },
  ),
  writeCommand('health unmute', z.object({ code: code.optional() }), (args, { draft }) => {
    const { mutes } = draft.operations.value
    const chosen = [...mutes.values()].filter((mute) => args.code === undefined || mute.code === args.code)
    for (const mute of chosen) {
      const { severity } = mute
      draft.operations.unmute(mute.code)
      const event = {
        wallMs: draft.wallMs,
        code: mute.code,
        event: 'unmuted',
        severity,
        summary: 'by an operator',
      } as const
      draft.operations.addHealthEvent(event)
      draft.log('info', `health check ${mute.code} is no longer muted`)
    }
    const codes = chosen.map((mute) => mute.code)
    return done(codes.length === 0 ? 'nothing was muted' : `no longer muted: ${codes.join(', ')}`, { unmuted: codes })
  }),
]
