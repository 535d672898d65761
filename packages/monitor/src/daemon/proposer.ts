/**
 * The leader's one way to change anything. Mutations gather while a proposal is under way; then all of them run against
 * the state that came of it, and what they decided is proposed together: one epoch for many commands.
 *
 * Invariant 1: one proposal is under way at a time, so that each is made for the state that it will be applied to.
 * Invariant 2: a mutation that throws leaves no trace in the proposal.
 * Invariant 3: a mutation's answer is given only after its effects are committed. One without effects waits for a read
 *              barrier instead: it may have looked at the state of a leader that was deposed.
 */
import { ClusterError, type Env, encode } from '@shoal/base'
import type { ConsensusDriver } from '../consensus/consensus-driver.ts'
import type { ApplyResult, ClusterState } from '../state/cluster-state.ts'
import { proposalCodec } from '../state/proposal.ts'
import { ProposalDraft } from '../state/proposal-draft.ts'

export interface ProposerOptions {
  /** Who signs log entries: `a` for `mon.a`. */
  readonly name: string
  readonly state: ClusterState
  readonly consensus: Pick<ConsensusDriver, 'propose' | 'readBarrier'>
  /** Entries of the cluster log to keep; asked at each proposal. */
  readonly logMax: () => number
}

interface Waiting {
  readonly mutation: (draft: ProposalDraft) => unknown
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  attempts: number
}

const queueMax = 4_096
const overtakenMax = 8

export class Proposer {
  private readonly env: Pick<Env, 'clock'>
  private readonly options: ProposerOptions
  private queue: Waiting[] = []
  private running = false

  constructor(env: Pick<Env, 'clock'>, options: ProposerOptions) {
    this.env = env
    this.options = options
  }

  /** Mutations that wait for their round. */
  get waiting(): number {
    return this.queue.length
  }

  /** Runs the mutation on the leader and resolves with its result once that is committed. */
  mutate<T>(mutation: (draft: ProposalDraft) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.queue.length >= queueMax) {
        reject(new ClusterError('EAGAIN', 'too many changes wait for the monitors', { retry: true }))
        return
      }
      this.queue.push({ mutation, resolve: resolve as (value: unknown) => void, reject, attempts: 0 })
      if (!this.running) void this.run()
    })
  }

  private async run(): Promise<void> {
    this.running = true
    // Whatever is submitted in this turn shares the first proposal.
    await Promise.resolve()
    while (this.queue.length > 0) await this.round(this.queue.splice(0))
    this.running = false
  }

  private async round(batch: readonly Waiting[]): Promise<void> {
    const { name, state } = this.options
    const draft = new ProposalDraft(state, `mon.${name}`, this.env.clock.wallMs())
    const decided: { readonly waiting: Waiting; readonly value: unknown }[] = []
    for (const waiting of batch) {
      const rollback = draft.checkpoint()
      try {
        decided.push({ waiting, value: waiting.mutation(draft) })
      } catch (error) {
        rollback()
        waiting.reject(error)
      }
    }
    if (decided.length === 0) return
    try {
      const result = await this.commit(draft)
      if (result === 'applied') for (const { waiting, value } of decided) waiting.resolve(value)
      else this.again(decided.map(({ waiting }) => waiting))
    } catch (error) {
      for (const { waiting } of decided) waiting.reject(error)
    }
  }

  private async commit(draft: ProposalDraft): Promise<ApplyResult> {
    if (draft.empty) {
      await this.options.consensus.readBarrier()
      return 'applied'
    }
    const command = encode(proposalCodec, draft.finish(this.options.logMax()))
    return (await this.options.consensus.propose(command)) as ApplyResult
  }

  /** Another leader's proposal came between: decide again on what is now. */
  private again(waiting: readonly Waiting[]): void {
    for (const one of waiting) {
      one.attempts++
      if (one.attempts < overtakenMax) this.queue.push(one)
      else one.reject(new ClusterError('EAGAIN', 'overtaken by other changes', { retry: true }))
    }
  }
}
