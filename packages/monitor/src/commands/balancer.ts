/** Ceph's `balancer ...`: placement groups spread evenly, by themselves (services/balancer.ts). */
import { ClusterError } from '@shoal/base'
import { measureBalance, osdFlags } from '@shoal/cluster-map'
import { z } from 'zod'
import { type Command, done, noArguments, readCommand, type WriteView, writeCommand } from './command.ts'

function setActive({ draft }: WriteView, active: boolean): string {
  const word = active ? 'on' : 'off'
  if (draft.map.flags.has('nobalance') !== active) return `the balancer is ${word} already`
  const flags = osdFlags.filter((flag) => (flag === 'nobalance' ? !active : draft.map.flags.has(flag)))
  draft.osd.setFlags(new Set(flags))
  draft.log('info', `balancer ${word}`)
  return `the balancer is ${word}`
}

export const balancerCommands: readonly Command[] = [
  readCommand('balancer status', noArguments, (_args, { map, balancer, statistics, nowMs }) =>
    done('', {
      active: !map.flags.has('nobalance'),
      mode: 'upmap',
      ...balancer?.status(map, statistics, nowMs),
      exceptions: map.upmapItems.size + map.upmap.size,
    }),
  ),
  readCommand('balancer eval', noArguments, (_args, { map }) => done('', measureBalance(map))),
  writeCommand('balancer on', noArguments, (_args, view) => done(setActive(view, true))),
  writeCommand('balancer off', noArguments, (_args, view) => done(setActive(view, false))),
  writeCommand('balancer mode', z.object({ mode: z.string() }), ({ mode }, view) => {
    if (mode === 'none') return done(setActive(view, false))
    if (mode === 'upmap') return done(setActive(view, true))
    throw new ClusterError('EOPNOTSUPP', `there is no balancer mode '${mode}'`, { hint: 'shoal balancer mode upmap' })
  }),
]
