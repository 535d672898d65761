/**
 * Snapshots: each lane has objects of its own, writes to them, takes snapshots, reads back at all of them, rolls back and
 * removes them. Nobody else writes to its objects, so that what each of them is at each snapshot is known exactly: also when
 * a write stayed without an answer, which ends a lane's use of its objects, but changes nothing of what was before it.
 *
 * In the end everything is read back again, at every snapshot that is left; and no disk holds a clone for one that is gone.
 */
import { utf8Encode } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import type { ObjectOp, SnapContext } from '@shoal/wire'
import { objectModel } from '../checkers/object-model.ts'
import { type ModelObject, noObject } from '../checkers/object-state.ts'
import { checkStoredClones } from '../checkers/stored-clones.ts'
import type { FinalReader, HistoryOutcome, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, perform, readAllOps, tokenBytes } from './record.ts'

const objectsPerLane = 3
const roundsMax = 60
const snapsMax = 5
const lengthMax = 40_000
const pauseMsMax = 400

type Mode = 'pool' | 'selfmanaged'

interface Snapshot {
  readonly id: number
  readonly name: string
  readonly contents: ReadonlyMap<string, ModelObject>
  /** `leaving`: whether it is removed is not known. */
  state: 'live' | 'leaving' | 'gone'
}

/** A lane's objects, as long as it knows what they hold. */
interface Generation {
  readonly pool: string
  /** What each may hold: more than one while a write is under way, or was never answered. */
  readonly objects: Map<string, readonly ModelObject[]>
  readonly snaps: Snapshot[]
}

interface Ledger {
  readonly generations: Generation[]
  readonly violations: Violation[]
}

export function snapshots(mode: Mode): Workload {
  const ledger: Ledger = { generations: [], violations: [] }
  return {
    name: mode === 'pool' ? 'pool-snapshots' : 'snapshots',
    async run(context) {
      const begun = ledger.generations.length
      await inLanes(context, 2, pauseMsMax, async (lane) => {
        // The same process may run again: its objects are others then.
        const name = `snap-${context.process}-${lane}-${begun}-${ledger.generations.length}`
        await new Lane(context, ledger, mode, name).run()
      })
    },
    check: (_history, final) => checkEverything(ledger, final),
  }
}

class Lane {
  private readonly context: WorkloadContext
  private readonly ledger: Ledger
  private readonly mode: Mode
  private readonly name: string
  private readonly generation: Generation
  /** What some object holds is not known any more. */
  private over = false
  private seq = 0

  constructor(context: WorkloadContext, ledger: Ledger, mode: Mode, name: string) {
    this.context = context
    this.ledger = ledger
    this.mode = mode
    this.name = name
    const names = Array.from({ length: objectsPerLane }, (_, at) => `${name}.${at}`)
    this.generation = {
      pool: context.pool.name,
      objects: new Map(names.map((object) => [object, [noObject]])),
      snaps: [],
    }
    ledger.generations.push(this.generation)
  }

  async run(): Promise<void> {
    const { context } = this
    const { random } = context
    const rounds = 10 + random.below(roundsMax)
    for (let round = 0; round < rounds && !this.over && !context.stopped(); round++) {
      await this.step()
      await context.sleep(random.fraction() * pauseMsMax)
    }
    for (const snap of this.live.slice(random.below(3))) {
      if (context.stopped()) return
      await this.removeSnapshot(snap)
    }
  }

  private get live(): readonly Snapshot[] {
    return this.generation.snaps.filter(({ state }) => state === 'live')
  }

  private async step(): Promise<void> {
    const { random } = this.context
    const { live } = this
    const object = `${this.name}.${random.below(objectsPerLane)}`
    const snap = live[random.below(Math.max(1, live.length))]
    const choice = random.below(100)
    if (choice < 45) return this.write(object)
    if (choice < 58 || snap === undefined) return this.takeSnapshot()
    if (choice < 66) return this.rollBack(object, snap)
    if (choice < 74 || live.length > snapsMax) return this.removeSnapshot(snap)
    if (choice < 80) return this.read(object, undefined)
    if (choice < 84) return this.list(snap)
    return this.read(object, snap)
  }

  private at(pool: PoolHandle): WorkloadContext {
    return { ...this.context, pool }
  }

  /** Of a write: for a pool of pool snapshots the cluster knows it. */
  private get writing(): PoolHandle {
    const { pool } = this.context
    if (this.mode === 'pool' || this.seq === 0) return pool
    const snaps = this.live.map(({ id }) => id).toReversed()
    return pool.withSnapContext({ seq: this.seq, snaps } satisfies SnapContext)
  }

  private async write(object: string): Promise<void> {
    await this.change(object, this.chooseWrite(), undefined)
  }

  private async rollBack(object: string, { id, contents }: Snapshot): Promise<void> {
    await this.change(object, [{ kind: 'rollback', snap: id }], contents.get(object))
  }

  /** `then`: what it is rolled back to. */
  private async change(object: string, ops: readonly ObjectOp[], then: ModelObject | undefined): Promise<void> {
    const { objects } = this.generation
    const before = objects.get(object)?.[0] ?? noObject
    const call = { kind: 'execute', ops }
    const [guess] =
      then === undefined ? objectModel.step(before, call, undefined) : [{ state: rolledBack(before, then) }]
    objects.set(object, [before, guess?.state ?? before])
    const { outcome, answer } = await perform(this.at(this.writing), object, ops)
    if (outcome.kind === 'unknown') {
      this.over = true
      return
    }
    // Nothing came of it, whatever the object is.
    if (outcome.kind === 'failed' && !toldOfObjects.has(outcome.code)) {
      objects.set(object, [before])
      return
    }
    if (then !== undefined) {
      if (outcome.kind !== 'ok') this.report(object, `a rollback failed with ${codeOf(outcome)}`, ops)
      objects.set(object, [outcome.kind === 'ok' ? rolledBack(before, then, answer?.version.version) : before])
      return
    }
    const [next] = objectModel.step(before, call, outcome)
    if (next === undefined || codeOf(next.result as HistoryOutcome) !== codeOf(outcome))
      this.report(object, `a write ended with ${codeOf(outcome)}`, ops)
    objects.set(object, [next?.state ?? before])
  }

  private chooseWrite(): readonly ObjectOp[] {
    const { random } = this.context
    const token = nextToken(this.context)
    const offset = random.below(lengthMax)
    const data = tokenBytes(token, 1 + random.below(random.below(4) === 0 ? lengthMax : 3_000))
    const key = utf8Encode(`key${random.below(4)}`)
    switch (random.below(11)) {
      case 0:
        return [{ kind: 'write-full', data }]
      case 1:
        return [{ kind: 'append', data: data.subarray(0, 2_000) }]
      case 2:
        return [{ kind: 'truncate', sizeBytes: offset }]
      case 3:
        return [{ kind: 'zero', offset, length: 1 + random.below(9_000) }]
      case 4:
        return [{ kind: 'remove' }]
      case 5:
        return [{ kind: 'set-xattr', name: `x${random.below(3)}`, value: data.subarray(0, 40) }]
      case 6:
        return [
          { kind: 'omap-set', entries: [{ key, value: data.subarray(0, 60) }] },
          { kind: 'omap-set-header', header: data.subarray(0, 8) },
        ]
      case 7:
        return [{ kind: 'omap-set', entries: [{ key, value: data.subarray(0, 60) }] }]
      default:
        return [{ kind: 'write', offset, data }]
    }
  }

  private async read(object: string, snap: Snapshot | undefined): Promise<void> {
    const expected = snap === undefined ? this.generation.objects.get(object)?.[0] : snap.contents.get(object)
    const { pool } = this.context
    const ops = readAllOps(2 * lengthMax)
    const { outcome } = await perform(this.at(snap === undefined ? pool : pool.at(snap.id)), object, ops)
    const problem = problemOf(expected ?? noObject, ops, outcome)
    if (problem !== undefined) this.report(object, `${problem}, read at ${snap?.id ?? 'the head'}`, outcome)
  }

  /** Which of this lane's objects there were. */
  private async list({ id, contents }: Snapshot): Promise<void> {
    const names = new Set<string>()
    try {
      for await (const name of this.context.pool.at(id).list()) names.add(name)
    } catch (error) {
      outcomeOf(error)
      return
    }
    for (const [object, { exists }] of contents) {
      if (names.has(object) !== exists)
        this.report(object, `${exists ? 'not ' : ''}listed at snapshot ${id}`, undefined)
    }
  }

  private async takeSnapshot(): Promise<void> {
    const { pool } = this.context
    const { objects, snaps } = this.generation
    const name = `${this.name}-${snaps.length}-${this.ledger.generations.length}`
    const id = await this.command(() =>
      this.mode === 'pool' ? pool.createSnapshot(name) : pool.createSelfManagedSnapshot(),
    )
    if (id === undefined) return
    this.seq = id
    const contents = new Map([...objects].map(([object, held]) => [object, held[0] ?? noObject]))
    snaps.push({ id, name, contents, state: 'live' })
  }

  private async removeSnapshot(snap: Snapshot): Promise<void> {
    const { pool } = this.context
    snap.state = 'leaving'
    const done = await this.command(async () => {
      if (this.mode === 'pool') await pool.removeSnapshot(snap.name)
      else await pool.removeSelfManagedSnapshot(snap.id)
      return 0
    })
    if (done !== undefined) snap.state = 'gone'
  }

  private async command(run: () => Promise<number>): Promise<number | undefined> {
    const { history, nowMs, process } = this.context
    const event = history.begin(process, this.name, { kind: 'snapshot command' }, nowMs())
    try {
      const value = await run()
      history.end(event, { kind: 'ok', value }, nowMs())
      return value
    } catch (error) {
      history.end(event, outcomeOf(error), nowMs())
      return undefined
    }
  }

  private report(object: string, message: string, details: unknown): void {
    this.ledger.violations.push({ checker: 'snapshots', object, message: `${object}: ${message}`, details })
  }
}

/** Codes that say something of the object. */
const toldOfObjects: ReadonlySet<string> = new Set(['ENOENT', 'ENODATA', 'EINVAL'])

const codeOf = (outcome: HistoryOutcome): string => (outcome.kind === 'failed' ? outcome.code : outcome.kind)

function rolledBack(before: ModelObject, then: ModelObject, version?: number): ModelObject {
  if (!then.exists) return { ...noObject, version: before.version, versionMin: before.versionMin }
  return { ...then, version, versionMin: version ?? before.versionMin + 1 }
}

/** Undefined when the answer is what the object holds, or there is no answer. */
function problemOf(expected: ModelObject, ops: readonly ObjectOp[], outcome: HistoryOutcome): string | undefined {
  if (outcome.kind === 'unknown') return undefined
  if (outcome.kind === 'failed') {
    if (outcome.code !== 'ENOENT') return undefined
    return expected.exists ? `is not there, but should have ${expected.content.sizeBytes} bytes` : undefined
  }
  if (!expected.exists) return 'is there, but should not be'
  return objectModel.step(expected, { kind: 'execute', ops }, outcome).length > 0 ? undefined : 'holds something else'
}

/** One broken promise shows in many objects. */
const violationsMax = 5

async function checkEverything({ generations, violations }: Ledger, final: FinalReader): Promise<readonly Violation[]> {
  const found: Violation[] = [...violations]
  const pools = new Set(generations.map(({ pool }) => pool))
  for (const generation of generations) {
    found.push(...(await checkGeneration(generation, final)))
    if (found.length >= violationsMax) break
  }
  for (const pool of pools) {
    const gone = new Set<number>()
    for (const { snaps } of generations) for (const { id, state } of snaps) if (state === 'gone') gone.add(id)
    for (const copy of await final.replicas(pool)) found.push(...checkStoredClones(copy, gone))
  }
  return found.slice(0, violationsMax)
}

async function checkGeneration(
  { pool, objects, snaps }: Generation,
  final: FinalReader,
): Promise<readonly Violation[]> {
  const found: Violation[] = []
  const check = async (object: string, candidates: readonly ModelObject[], snap: number | undefined): Promise<void> => {
    const outcome = await finalOutcome(final, pool, object, snap)
    const problems = candidates.map((expected) => problemOf(expected, finalOps, outcome))
    const problem = problems.includes(undefined) ? undefined : problems[0]
    if (problem === undefined) return
    const message = `${object}: ${problem}, read in the end at ${snap ?? 'the head'}`
    found.push({ checker: 'snapshots', object, message, details: outcome })
  }
  for (const { id, contents, state } of snaps) {
    if (state === 'live') for (const [object, then] of contents) await check(object, [then], id)
  }
  for (const [object, candidates] of objects) await check(object, candidates, undefined)
  return found
}

const finalOps = readAllOps(2 * lengthMax).map(
  (op): ObjectOp => (op.kind === 'omap-get-range' ? { ...op, limit: Number.MAX_SAFE_INTEGER } : op),
)

async function finalOutcome(
  final: FinalReader,
  pool: string,
  object: string,
  snap: number | undefined,
): Promise<HistoryOutcome> {
  const read = await final.read(pool, object, snap)
  if (read === undefined) return { kind: 'failed', code: 'ENOENT' }
  const results = [
    { kind: 'data', data: read.data },
    { kind: 'stat', sizeBytes: read.data.length, modifiedMs: 0, version: read.version },
    { kind: 'xattrs', xattrs: read.xattrs },
    { kind: 'data', data: read.omapHeader },
    { kind: 'omap', entries: read.omap, more: false },
  ]
  return { kind: 'ok', value: { results, version: { epoch: 0, version: 0 } } }
}
