/**
 * Lets requests to an image begin as its limits allow. Reads wait in one line and writes in another, so that a limit on writes
 * holds no read back; in a line the users (connections) take turns, so that one that asks a lot does not starve the others.
 */
import type { Env, Timer } from '@shoal/base'
import type { ImageConfig } from './image-config.ts'
import { TokenBucket } from './token-bucket.ts'

export type QosKind = 'read' | 'write'

interface Waiting {
  readonly bytes: number
  readonly begin: () => void
}

interface Line {
  /** By user, in the order of their turns. */
  readonly users: Map<object, Waiting[]>
  requests: readonly TokenBucket[]
  bytes: readonly TokenBucket[]
  timer: Timer | undefined
}

export class QosGate {
  private readonly env: Pick<Env, 'clock' | 'timers'>
  private readonly lines: Readonly<Record<QosKind, Line>>

  constructor(env: Pick<Env, 'clock' | 'timers'>, config: ImageConfig) {
    this.env = env
    const line = (): Line => ({ users: new Map(), requests: [], bytes: [], timer: undefined })
    this.lines = { read: line(), write: line() }
    this.configure(config)
  }

  /** Who waits goes by the new limits. */
  configure(config: ImageConfig): void {
    const nowMs = this.env.clock.monotonicMs()
    const bucket = (name: 'iops' | 'bps', kind: '' | 'read_' | 'write_'): readonly TokenBucket[] => {
      const limit = config.get(`qos_${kind}${name}_limit`)
      return limit === undefined ? [] : [new TokenBucket(limit, config.get(`qos_${kind}${name}_burst`) ?? limit, nowMs)]
    }
    const [requests, bytes] = [bucket('iops', ''), bucket('bps', '')]
    for (const kind of ['read', 'write'] as const) {
      const line = this.lines[kind]
      line.requests = [...requests, ...bucket('iops', `${kind}_`)]
      line.bytes = [...bytes, ...bucket('bps', `${kind}_`)]
      this.advance(line)
    }
  }

  /** Resolves when the request may begin. */
  enter(user: object, kind: QosKind, bytes: number): Promise<void> {
    const line = this.lines[kind]
    return new Promise((resolve) => {
      const waiting = { bytes, begin: resolve }
      const own = line.users.get(user)
      if (own === undefined) line.users.set(user, [waiting])
      else own.push(waiting)
      if (line.timer === undefined) this.advance(line)
    })
  }

  private advance(line: Line): void {
    line.timer?.cancel()
    line.timer = undefined
    for (;;) {
      const [next] = line.users
      if (next === undefined) return
      const nowMs = this.env.clock.monotonicMs()
      const delayMs = Math.max(0, ...[...line.requests, ...line.bytes].map((bucket) => bucket.delayMs(nowMs)))
      if (delayMs > 0) {
        line.timer = this.env.timers.after(delayMs, () => this.advance(line))
        return
      }
      this.beginNext(line, next)
    }
  }

  private beginNext(line: Line, [user, requests]: readonly [object, Waiting[]]): void {
    const waiting = requests.shift()
    line.users.delete(user)
    // To the end of the round.
    if (requests.length > 0) line.users.set(user, requests)
    if (waiting === undefined) return
    for (const bucket of line.requests) bucket.take(1)
    for (const bucket of line.bytes) bucket.take(waiting.bytes)
    waiting.begin()
  }
}
