/**
 * The ticks of a {@link RaftNode}, without waking for those that only count: they are counted when a message comes, and a
 * timer is set for the one that does something. A follower that hears its leader sleeps for an election timeout at a time.
 */
import type { Env, Timer } from '@shoal/base'
import type { RaftNode } from '@shoal/raft'

/** A timer may fire so much early by the clock that is asked. */
const timerSlackMs = 2

export class Ticker {
  private readonly env: Pick<Env, 'clock' | 'timers'>
  private readonly node: Pick<RaftNode, 'tick' | 'ticksUntilDue'>
  private readonly tickMs: number
  private readonly onTick: () => void
  private timer: Timer | undefined
  private timerMs = Number.POSITIVE_INFINITY
  /** Ticks are counted up to here. */
  private countedMs: number

  /** `onTick` is called after a tick that may have done something. */
  constructor(
    env: Pick<Env, 'clock' | 'timers'>,
    node: Pick<RaftNode, 'tick' | 'ticksUntilDue'>,
    tickMs: number,
    onTick: () => void,
  ) {
    this.env = env
    this.node = node
    this.tickMs = tickMs
    this.onTick = onTick
    this.countedMs = env.clock.monotonicMs()
  }

  /**
   * Before a message is handled: tells the node of the ticks that have passed, up to the one before the next that does
   * something. That one is the timer's, and only one of it, however late it comes: a process that was stopped has not
   * missed what waits for it unread.
   */
  count(): void {
    const { node, tickMs } = this
    const nowMs = this.env.clock.monotonicMs()
    const passed = Math.floor((nowMs - this.countedMs + timerSlackMs) / tickMs)
    const counted = Math.min(passed, node.ticksUntilDue - 1)
    for (let i = 0; i < counted; i++) node.tick()
    this.countedMs = counted < passed ? nowMs - tickMs : this.countedMs + counted * tickMs
  }

  /** After whatever may have changed what the node waits for. A timer that is early finds nothing to do and is set anew. */
  arm(): void {
    const dueMs = this.countedMs + this.node.ticksUntilDue * this.tickMs
    if (this.timerMs <= dueMs) return
    this.timer?.cancel()
    this.timerMs = dueMs
    this.timer = this.env.timers.after(Math.max(0, dueMs - this.env.clock.monotonicMs()), () => this.onTimer())
  }

  stop(): void {
    this.timer?.cancel()
  }

  private onTimer(): void {
    this.timerMs = Number.POSITIVE_INFINITY
    this.count()
    const nowMs = this.env.clock.monotonicMs()
    if (nowMs - this.countedMs + timerSlackMs >= this.tickMs) {
      this.node.tick()
      this.countedMs = nowMs
    }
    this.onTick()
  }
}
