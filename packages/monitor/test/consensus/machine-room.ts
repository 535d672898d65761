/** Monitors' consensus drivers in one process: virtual time, links that can be cut, stores that lose unsynced batches. */
import { type Env, type Log, Prng, type Timer, type Timers, utf8Decode, utf8Encode } from '@shoal/base'
import { MemoryKeyValueStores } from '@shoal/testkit'
import { ConsensusDriver, type ConsensusOptions, type StateMachine } from '../../src/consensus/consensus-driver.ts'

const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
}

class VirtualTimers implements Timers {
  nowMs = 0
  readonly clock = { monotonicMs: (): number => this.nowMs, wallMs: (): number => this.nowMs }
  private queue: { readonly atMs: number; readonly callback: () => void; cancelled: boolean }[] = []

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.nowMs + delayMs, callback, cancelled: false }
    this.queue.push(timer)
    return {
      cancel: () => {
        timer.cancelled = true
      },
    }
  }

  soon(callback: () => void): void {
    this.after(0, callback)
  }

  /** Advances in small steps; what was promised meanwhile happens between them. */
  async advance(ms: number): Promise<void> {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += 10
      const due = this.queue.filter((timer) => timer.atMs <= this.nowMs)
      this.queue = this.queue.filter((timer) => timer.atMs > this.nowMs && !timer.cancelled)
      for (const timer of due) if (!timer.cancelled) timer.callback()
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
  }
}

/** Keeps the commands it saw; answers with their number. */
export class Ledger implements StateMachine {
  commands: string[] = []

  apply(_index: number, command: Uint8Array): number {
    this.commands.push(utf8Decode(command))
    return this.commands.length
  }

  snapshot(): Uint8Array {
    return utf8Encode(JSON.stringify(this.commands))
  }

  restore(snapshot: Uint8Array): void {
    this.commands = JSON.parse(utf8Decode(snapshot)) as string[]
  }
}

export class MachineRoom {
  readonly timers = new VirtualTimers()
  readonly stores = new MemoryKeyValueStores()
  readonly ledgers = new Map<number, Ledger>()
  readonly drivers = new Map<number, ConsensusDriver>()
  readonly aborted: string[] = []
  readonly unreachable = new Set<number>()
  private readonly random = new Prng(7)
  private readonly options: Partial<ConsensusOptions>

  constructor(options: Partial<ConsensusOptions> = {}) {
    this.options = options
  }

  private env(id: number): Pick<Env, 'clock' | 'timers' | 'keyValue' | 'random' | 'log' | 'abort'> {
    // A machine without power cannot abort any more.
    const { run } = this.stores.disk(`mon.${id}`)
    const abort = ((reason: string) => {
      if (this.stores.disk(`mon.${id}`).run === run) this.aborted.push(reason)
    }) as Env['abort']
    return {
      clock: this.timers.clock,
      timers: this.timers,
      keyValue: this.stores,
      random: this.random.fork(),
      log: silent,
      abort,
    }
  }

  async found(ids: readonly number[]): Promise<void> {
    for (const id of ids) {
      await ConsensusDriver.initialize(this.env(id), `mon.${id}`, { voters: ids, learners: [] }, utf8Encode('[]'))
      await this.start(id)
    }
  }

  async start(id: number): Promise<ConsensusDriver> {
    const ledger = new Ledger()
    const driver = await ConsensusDriver.open(this.env(id), {
      id,
      directory: `mon.${id}`,
      stateMachine: ledger,
      transport: {
        send: (to, message) => {
          if (this.unreachable.has(id) || this.unreachable.has(to)) return
          this.timers.after(0, () => this.drivers.get(to)?.receive(id, message))
        },
      },
      ...this.options,
    })
    this.ledgers.set(id, ledger)
    this.drivers.set(id, driver)
    return driver
  }

  /** The process dies and what was not synced is lost. */
  powerCut(id: number): void {
    this.stores.disk(`mon.${id}`).powerCut(this.random)
    const driver = this.drivers.get(id)
    this.drivers.delete(id)
    void driver?.close()
  }

  driver(id: number): ConsensusDriver {
    const driver = this.drivers.get(id)
    if (driver === undefined) throw new Error(`monitor ${id} does not run`)
    return driver
  }

  async leader(): Promise<ConsensusDriver> {
    for (let i = 0; i < 200; i++) {
      const leader = [...this.drivers.values()].find((one) => one.isLeader && !this.unreachable.has(one.status().id))
      if (leader !== undefined) return leader
      await this.timers.advance(100)
    }
    throw new Error('no leader')
  }

  /** Lets time pass until the promise settles. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    const state = { isSettled: false }
    const mark = (): void => {
      state.isSettled = true
    }
    promise.then(mark, mark)
    while (!state.isSettled) await this.timers.advance(10)
    return promise
  }
}
