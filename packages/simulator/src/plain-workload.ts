/**
 * Whole objects written and read by one writer each: every read shows the last acknowledged content, or one whose write
 * has no known outcome.
 */
import { equalBytes, isClusterError } from '@shoal/base'
import type { FinalReader, History, HistoryEvent, Violation, Workload, WorkloadContext } from './history.ts'

const objectsPerProcess = 8
const bytesMax = 24_000
const pauseMsMax = 400

function contentOf(tag: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = Math.imul(tag, 2654435761) + 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

interface Write {
  readonly kind: 'write'
  readonly tag: number
  readonly length: number
}

export class PlainWorkload implements Workload {
  readonly name = 'plain'
  private readonly pool: string
  private nextTag = 1

  constructor(pool: string) {
    this.pool = pool
  }

  async run(context: WorkloadContext): Promise<void> {
    const { random, stopped, sleep } = context
    while (!stopped()) {
      const name = `object-${context.process}-${random.below(objectsPerProcess)}`
      if (random.below(3) === 0) await this.readOne(context, name)
      else await this.writeOne(context, name)
      await sleep(random.below(pauseMsMax))
    }
  }

  async check(history: History, final: FinalReader): Promise<readonly Violation[]> {
    const violations: Violation[] = []
    for (const [object, events] of history.byObject()) {
      const found = await final.read(this.pool, object)
      violations.push(...checkObject(object, events, found?.data))
    }
    return violations
  }

  private async writeOne({ pool, history, process, nowMs }: WorkloadContext, name: string): Promise<void> {
    const tag = this.nextTag++
    const length = 1 + ((tag * 7919) % bytesMax)
    const event = history.begin(process, name, { kind: 'write', tag, length }, nowMs())
    try {
      await pool.writeFull(name, contentOf(tag, length))
      history.end(event, { kind: 'ok', value: undefined }, nowMs())
    } catch (error) {
      if (!isClusterError(error)) throw error
      const outcome =
        error.outcome === 'unknown' ? ({ kind: 'unknown' } as const) : ({ kind: 'failed', code: error.code } as const)
      history.end(event, outcome, nowMs())
    }
  }

  private async readOne({ pool, history, process, nowMs }: WorkloadContext, name: string): Promise<void> {
    const event = history.begin(process, name, { kind: 'read' }, nowMs())
    try {
      history.end(event, { kind: 'ok', value: await pool.read(name, 0, bytesMax) }, nowMs())
    } catch (error) {
      if (!isClusterError(error)) throw error
      if (error.code === 'ENOENT') history.end(event, { kind: 'ok', value: undefined }, nowMs())
      else history.end(event, { kind: 'failed', code: error.code }, nowMs())
    }
  }
}

/** Undefined stands for no object. */
function checkObject(
  object: string,
  events: readonly HistoryEvent[],
  final: Uint8Array | undefined,
): readonly Violation[] {
  const violations: Violation[] = []
  let candidates: (Write | undefined)[] = [undefined]
  const look = (data: Uint8Array | undefined, when: string): void => {
    const match = candidates.find((write) =>
      write === undefined
        ? data === undefined
        : data !== undefined && equalBytes(contentOf(write.tag, write.length), data),
    )
    if (match !== undefined || (data === undefined && candidates.includes(undefined))) return
    violations.push({
      checker: 'acknowledged-write',
      object,
      message: `${when} shows ${data === undefined ? 'nothing' : `${data.length} bytes`} that no write explains`,
      details: { candidates },
    })
  }
  for (const { invoke, outcome, startMs } of events) {
    if (invoke.kind === 'read') {
      if (outcome?.kind === 'ok') look(outcome.value as Uint8Array | undefined, `a read at ${startMs.toFixed(0)} ms`)
    } else if (outcome?.kind === 'ok') {
      candidates = [invoke as unknown as Write]
    } else if (outcome?.kind !== 'failed') {
      candidates.push(invoke as unknown as Write)
    }
  }
  look(final, 'the end')
  return violations
}
