/** Clocks that jump and drift. Leases allow two clocks to run apart by two percent: each is at most one percent wrong. */
import { drawDaemon, type Fault, nothing } from './fault.ts'

const driftMax = 0.0099

const drift: Fault = {
  kind: 'clock-drift',
  family: 'clock',
  weight: 2,
  draw: (random, plan) => ({ node: drawDaemon(random, plan), rate: 1 + driftMax * (2 * random.fraction() - 1) }),
  strike({ cluster }, { node, rate }) {
    const machine = cluster.find(String(node))?.machine
    if (machine === undefined) return undefined
    machine.setClock({ ...machine.clock, rate: rate as number })
    return nothing
  },
}

const jump: Fault = {
  kind: 'clock-jump',
  family: 'clock',
  weight: 2,
  draw: (random, plan) => ({
    node: drawDaemon(random, plan),
    offsetMs: Math.round((random.fraction() - 0.5) * 2 * 10 ** (1 + random.below(9))),
  }),
  strike({ cluster }, { node, offsetMs }) {
    const machine = cluster.find(String(node))?.machine
    if (machine === undefined) return undefined
    machine.setClock({ ...machine.clock, wallOffsetMs: offsetMs as number })
    return nothing
  },
}

export const clockFaults: readonly Fault[] = [drift, jump]
