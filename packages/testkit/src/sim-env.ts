/** A world in one call: for tests that need an Env, and perhaps to crash it. */
import { type Env, type Log, Prng } from '@shoal/base'
import { SimMachine } from './sim-machine.ts'
import { SimNetwork } from './sim-network.ts'
import { SimTime } from './sim-time.ts'

export interface SimWorldOptions {
  readonly seed: number
  readonly log?: Log
  /** See {@link SimMachineOptions.ioDelayMs}. */
  readonly ioDelayMs?: { readonly min: number; readonly max: number }
}

/** Time, a network, and as many machines as asked for, all drawn from one seed. */
export class SimWorld {
  readonly time: SimTime = new SimTime()
  readonly random: Prng
  readonly network: SimNetwork
  private readonly options: SimWorldOptions

  constructor(options: SimWorldOptions) {
    this.options = options
    this.random = new Prng(options.seed)
    this.network = new SimNetwork(this.time, this.random.fork())
  }

  machine(host: string): SimMachine {
    const { log, ioDelayMs } = this.options
    return new SimMachine({
      host,
      time: this.time,
      network: this.network,
      random: this.random.fork(),
      ...(log === undefined ? {} : { log }),
      ...(ioDelayMs === undefined ? {} : { ioDelayMs }),
    })
  }
}

export interface SimEnv {
  readonly world: SimWorld
  readonly machine: SimMachine
  readonly env: Env
}

/** One machine that has started. `await env.disk...` works as it stands; timers and the network need `world.time` driven. */
export function makeSimEnv(options: SimWorldOptions): SimEnv {
  const world = new SimWorld(options)
  const machine = world.machine('127.0.0.1')
  return { world, machine, env: machine.start() }
}
