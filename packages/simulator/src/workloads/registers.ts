/** Objects used as registers: written as a whole, read, compared and set, removed and made again, by all at once. */
import type { ObjectOp } from '@shoal/wire'
import type { Workload, WorkloadContext } from '../history.ts'
import { objectWorkload, type Seen } from './object-workload.ts'
import { nextToken, readAllOps, tokenBytes, weighted } from './record.ts'

const lengthMax = 16 * 1024
/** Enough of the contents to tell them apart. */
const comparedBytes = 16

export interface RegistersOptions {
  readonly slots?: number
  readonly periodMs?: number
  readonly pauseMsMax?: number
}

export function registers(options: RegistersOptions = {}): Workload {
  return objectWorkload({
    name: 'register',
    slots: options.slots ?? 6,
    lanes: 2,
    pauseMsMax: options.pauseMsMax ?? 150,
    periodMs: options.periodMs ?? 60_000,
    lengthMax,
    choose: chooseRegisterOps,
  })
}

/** Many objects of which few are hot: the cold ones are written now and then and must be there much later. */
export function hotAndCold(options: RegistersOptions = {}): Workload {
  const slots = options.slots ?? 200
  return objectWorkload({
    name: 'hot-cold',
    slots,
    lanes: 2,
    pauseMsMax: options.pauseMsMax ?? 150,
    periodMs: options.periodMs ?? 600_000,
    lengthMax,
    // The first slots get most of it.
    chooseSlot: ({ random }) => Math.floor(slots * random.fraction() ** 4),
    choose: chooseRegisterOps,
  })
}

function chooseRegisterOps(context: WorkloadContext, seen: Seen | undefined): readonly ObjectOp[] {
  const { random } = context
  const token = nextToken(context)
  const length = 16 + random.below(lengthMax - 16)
  const next = (): ObjectOp => ({ kind: 'write-full', data: tokenBytes(token, length) })
  const choices: [number, () => readonly ObjectOp[]][] = [
    [40, () => readAllOps(lengthMax)],
    [25, () => [next()]],
    [5, () => [{ kind: 'remove' }]],
    [5, () => [{ kind: 'create', exclusive: true }, next()]],
  ]
  if (seen !== undefined) {
    const data = seen.data.slice(0, comparedBytes)
    choices.push([20, () => [{ kind: 'compare-extent', offset: 0, data }, next()]])
    choices.push([10, () => [{ kind: 'assert-version', version: seen.version }, next()]])
  }
  return weighted(random, choices)()
}
