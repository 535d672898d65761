/** Ceph's `balancer ...`: placement groups spread evenly, by themselves (services/balancer.ts). */
import { ClusterError } from '@shoal/base'
import { measureBalance, measurePrimaries, osdFlags } from '@shoal/cluster-map'
import { type BalancerStatus, monitorOptions, type PoolBalanceRow } from '@shoal/monitor-client'
import { z } from 'zod'
import {
  type ClusterView,
  type Command,
  done,
  noArguments,
  readCommand,
  type WriteView,
  writeCommand,
} from './command.ts'
import { setOption } from './config.ts'
import { requireAllFollowPrimaries } from './placement-exceptions.ts'

function setActive({ draft }: WriteView, active: boolean): string {
  const word = active ? 'on' : 'off'
  if (draft.map.flags.has('nobalance') !== active) return `the balancer is ${word} already`
  const flags = osdFlags.filter((flag) => (flag === 'nobalance' ? !active : draft.map.flags.has(flag)))
  draft.osd.setFlags(new Set(flags))
  draft.log('info', `balancer ${word}`)
  return `the balancer is ${word}`
}

/** Ceph names modes by what they change; `none` turns it off. */
function setMode(mode: string, view: WriteView): string {
  if (mode === 'none') return setActive(view, false)
  const modes = monitorOptions.balancer_mode.choices ?? []
  if (!modes.includes(mode)) {
    throw new ClusterError('EOPNOTSUPP', `there is no balancer mode '${mode}'`, {
      hint: `shoal balancer mode ${[...modes, 'none'].join('|')}`,
    })
  }
  if (mode !== 'upmap') requireAllFollowPrimaries(view.draft.map)
  setOption({ who: 'mon', name: 'balancer_mode', value: mode, by: '' }, view)
  return `${setActive(view, true)}, mode ${mode}`
}

export const balancerCommands: readonly Command[] = [
  readCommand('balancer status', noArguments, (_args, view) => {
    const { map, balancer, statistics, settings, nowMs } = view
    const status: BalancerStatus = {
      active: !map.flags.has('nobalance'),
      mode: settings.balancer_mode,
      ...balancer?.status(map, statistics, nowMs),
      exceptions: map.upmapItems.size + map.upmap.size,
      primaryExceptions: map.upmapPrimaries?.size ?? 0,
      primaryDeviationMax: Math.max(0, ...measurePrimaries(map, view.placement()).map((row) => row.deviationMax)),
    }
    return done('', status)
  }),
  readCommand('balancer eval', noArguments, (_args, view) => done('', evaluate(view))),
  writeCommand('balancer on', noArguments, (_args, view) => done(setActive(view, true))),
  writeCommand('balancer off', noArguments, (_args, view) => done(setActive(view, false))),
  writeCommand('balancer mode', z.object({ mode: z.string() }), ({ mode }, view) => done(setMode(mode, view))),
]

function evaluate(view: ClusterView): readonly PoolBalanceRow[] {
  const ofPool = new Map(
    measurePrimaries(view.map, view.placement()).map(({ pool, name: _name, ...row }) => [pool, row]),
  )
  return measureBalance(view.map).map((row) => {
    const primaries = ofPool.get(row.pool)
    return primaries === undefined ? row : { ...row, primaries }
  })
}
