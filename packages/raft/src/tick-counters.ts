/** The two clocks of a raft node, in ticks: since it heard of a leader (or, leading, of a majority), and since it sent heartbeats. */
import type { RaftOptions } from './ready.ts'

export class TickCounters {
  electionElapsed = 0
  heartbeatElapsed = 0
  /** Drawn anew for each wait, so that two candidates do not keep getting in each other's way (section 5.2). */
  electionTimeout = 0
  private readonly options: Pick<RaftOptions, 'electionTicks' | 'heartbeatTicks' | 'random'>

  constructor(options: Pick<RaftOptions, 'electionTicks' | 'heartbeatTicks' | 'random'>) {
    this.options = options
    this.drawElectionTimeout()
  }

  drawElectionTimeout(): void {
    this.electionTimeout = this.options.electionTicks + this.options.random.below(this.options.electionTicks)
  }

  /** The next so many ticks but one only count. At least one. */
  untilDue(isLeader: boolean): number {
    const { electionTicks, heartbeatTicks } = this.options
    const left = isLeader
      ? Math.min(electionTicks - this.electionElapsed, heartbeatTicks - this.heartbeatElapsed)
      : this.electionTimeout - this.electionElapsed
    return Math.max(1, left)
  }
}
