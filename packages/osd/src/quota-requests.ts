/**
 * Carries what primaries ask of their pools' quotas to the leading monitor, in batches, one under way at a time. However
 * many clients wait, there is one ask per placement group: a later one replaces one that was not sent yet.
 */
import { type Env, isClusterError, type PgId } from '@shoal/base'
import type { QuotaAnswer, QuotaAsk } from '@shoal/cluster-map'
import type { MonitorClient } from '@shoal/monitor-client'

const batchMax = 256
const timeoutMs = 5_000

export class QuotaRequests {
  private readonly env: Env
  private readonly monitor: MonitorClient
  private readonly onAnswer: (answer: QuotaAnswer) => void
  private readonly waiting = new Map<PgId, QuotaAsk>()
  private sending = false
  private stopped = false

  constructor(env: Env, monitor: MonitorClient, onAnswer: (answer: QuotaAnswer) => void) {
    this.env = env
    this.monitor = monitor
    this.onAnswer = onAnswer
  }

  /** Those of one turn of the event loop go out together. */
  ask(ask: QuotaAsk): void {
    this.waiting.set(ask.pgId, ask)
    if (this.sending || this.stopped) return
    this.sending = true
    this.env.timers.soon(() => void this.send())
  }

  stop(): void {
    this.stopped = true
    this.waiting.clear()
  }

  private async send(): Promise<void> {
    while (this.waiting.size > 0 && !this.stopped) {
      const batch = [...this.waiting.values()].slice(0, batchMax)
      for (const { pgId } of batch) this.waiting.delete(pgId)
      const answers = await this.answersTo(batch)
      if (this.stopped) return
      for (const ask of batch) {
        const answer = answers.get(ask.pgId)
        // Without an answer it asks again a little later.
        this.onAnswer(answer ?? { ...ask, verdict: 'wait' })
      }
    }
    this.sending = false
  }

  private async answersTo(asks: readonly QuotaAsk[]): Promise<ReadonlyMap<PgId, QuotaAnswer>> {
    try {
      // What is told counts for the leader that we know of. (Counter-example: an ask that comes late to the next one, which
      // has not heard of this placement group yet, and takes it for what is held now.)
      const term = this.monitor.leaderTerm
      const { data } = await this.monitor.command({ prefix: 'osd pool quota-share', term, asks }, timeoutMs)
      return new Map((data as readonly QuotaAnswer[]).map((answer) => [answer.pgId, answer]))
    } catch (error) {
      if (!isClusterError(error)) return this.env.abort('the monitors were asked for a share of a quota', error)
      this.env.log.debug('no answer about quotas', { error: error.message })
      return new Map()
    }
  }
}
