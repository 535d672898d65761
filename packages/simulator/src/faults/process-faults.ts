/** Processes that stop, die, and die again. */
import { between, drawDaemon, type Fault, nothing } from './fault.ts'

const pause: Fault = {
  kind: 'pause',
  family: 'process',
  weight: 4,
  durationMs: { min: 200, max: 30_000 },
  draw: (random, plan) => ({ node: drawDaemon(random, plan) }),
  strike({ cluster }, { node }) {
    const found = cluster.find(String(node))
    const life = found?.machine.scope
    if (found === undefined || life === undefined || life.paused) return undefined
    found.machine.pause()
    return () => {
      if (found.machine.scope === life) found.machine.resume()
    }
  },
}

const crash: Fault = {
  kind: 'crash',
  family: 'process',
  weight: 4,
  draw: (random, plan) => ({ node: drawDaemon(random, plan) }),
  strike({ cluster }, { node }) {
    const found = cluster.find(String(node))
    if (found?.isAlive !== true) return undefined
    found.kill()
    return nothing
  },
}

/** Dead for a while. */
const outage: Fault = {
  kind: 'outage',
  family: 'process',
  weight: 3,
  durationMs: { min: 1_000, max: 120_000 },
  draw: (random, plan) => ({ node: drawDaemon(random, plan) }),
  strike({ cluster }, { node }) {
    const found = cluster.find(String(node))
    if (found?.isAlive !== true) return undefined
    found.wanted = false
    found.kill()
    return () => found.start()
  },
}

const crashLoop: Fault = {
  kind: 'crash-loop',
  family: 'process',
  weight: 2,
  durationMs: { min: 5_000, max: 60_000 },
  draw: (random, plan) => ({ node: drawDaemon(random, plan), everyMs: between(random, 20, 4_000) }),
  strike({ cluster }, { node, everyMs }) {
    const found = cluster.find(String(node))
    if (found?.isAlive !== true) return undefined
    let over = false
    const again = (): void => {
      if (over) return
      if (found.isAlive) found.kill()
      cluster.time.schedule(everyMs as number, undefined, again)
    }
    again()
    return () => {
      over = true
    }
  },
}

const clientCrash: Fault = {
  kind: 'client-crash',
  family: 'process',
  weight: 1,
  draw: (random, plan) => ({ at: random.below(plan.workloads.reduce((sum, one) => sum + one.clients, 0) || 1) }),
  strike({ cluster }, { at }) {
    const found = cluster.clients[at as number]
    if (found?.isAlive !== true) return undefined
    found.kill()
    return nothing
  },
}

export const processFaults: readonly Fault[] = [pause, crash, outage, crashLoop, clientCrash]
