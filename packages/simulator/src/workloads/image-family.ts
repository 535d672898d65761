/**
 * Images and what comes of them: snapshots, clones of snapshots, rollbacks, flattening, and the removal of what others depend
 * on, while their one user writes. Each client has a family of its own, so that what every image and every snapshot shows is
 * known exactly. An image whose last change was never answered is left alone from then on; what was before it stays known.
 *
 * A snapshot that is taken while writes follow one another shows the first so many of them: what a disk may show that lost its
 * power. In the end everything is read back, and what was removed has left no object and no clone.
 */
import { ClusterError, isClusterError, type Timers } from '@shoal/base'
import { type Image, type ImageData, ImageStore, type ObjectIo, type Quiescer } from '@shoal/block'
import type { ObjectOp, ObjectOpResult } from '@shoal/wire'
import { checkStoredClones } from '../checkers/stored-clones.ts'
import type { FinalReader, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, tokenBytes, weighted } from './record.ts'

const objectBytes = 16 * 1024
const imageBytes = 6 * objectBytes + 2_000
const membersMax = 5
const snapshotsMax = 4
const stepsMax = 60
const pauseMsMax = 200

interface Member {
  readonly name: string
  readonly id: string
  readonly image: Image
  disk: Uint8Array
  /** False while a change is under way, or was not answered. */
  isKnown: boolean
  isClone: boolean
  readonly snapshots: Map<string, TakenSnapshot>
}

interface TakenSnapshot {
  readonly id: number
  /** What it may show: after so many of the writes that went on meanwhile. */
  contents: readonly Uint8Array[]
}

interface Family {
  readonly pool: string
  readonly members: Member[]
  /** Ids of images, and of snapshots, that are surely gone. */
  readonly goneImages: Set<string>
  readonly goneSnapshots: Set<number>
}

interface Ledger {
  readonly families: Family[]
  readonly violations: Violation[]
}

export function imageFamily(): Workload {
  const ledger: Ledger = { families: [], violations: [] }
  return {
    name: 'image-family',
    run: (context) => inLanes(context, 1, pauseMsMax, () => new Life(context, ledger).run()),
    check: (_history, final) => checkEverything(ledger, final),
  }
}

type Step = 'write' | 'discard' | 'read' | 'snapshot' | 'clone' | 'remove-snapshot' | 'rollback' | 'flatten' | 'remove'

const steps: readonly (readonly [number, Step])[] = [
  [14, 'write'],
  [3, 'discard'],
  [8, 'read'],
  [6, 'snapshot'],
  [5, 'clone'],
  [5, 'remove-snapshot'],
  [3, 'rollback'],
  [2, 'flatten'],
  [1, 'remove'],
]

/** A family from its first image until something was not answered. */
class Life {
  private readonly context: WorkloadContext
  private readonly ledger: Ledger
  private readonly family: Family
  private readonly store: ImageStore
  private readonly prefix: string
  private count = 0
  private over = false

  constructor(context: WorkloadContext, ledger: Ledger) {
    this.context = context
    this.ledger = ledger
    const { pool, process, random, nowMs } = context
    this.prefix = `family-${process}-${ledger.families.length}`
    this.family = { pool: pool.name, members: [], goneImages: new Set(), goneSnapshots: new Set() }
    ledger.families.push(this.family)
    const clock = { monotonicMs: nowMs, wallMs: nowMs }
    this.store = new ImageStore({ clock, random, timers: timersOf(context) }, pool, this.quiescer())
  }

  async run(): Promise<void> {
    const { random, stopped, sleep } = this.context
    const name = `${this.prefix}-first`
    const made = await this.attempt('create', () => this.store.create(name, imageBytes, objectBytes))
    if (made !== undefined) await this.adopt(name, new Uint8Array(imageBytes), false)
    for (let step = 0; step < stepsMax && !this.over && !stopped(); step++) {
      await this.step()
      await sleep(random.fraction() * pauseMsMax)
    }
  }

  /** Nobody else has the images open. */
  private quiescer(): Quiescer {
    const openOf = (id: string): readonly Image[] =>
      this.family.members.filter((member) => member.id === id).map(({ image }) => image)
    return {
      pause: async ({ id }) => {
        await Promise.all(openOf(id).map((image) => image.pause()))
        const resume = async (): Promise<void> => {
          await Promise.all(openOf(id).map((image) => image.resume()))
        }
        return { everybody: true, guards: [], resume }
      },
      changed: async ({ id }) => {
        await Promise.all(openOf(id).map((image) => image.refresh().catch(outcomeOf)))
      },
    }
  }

  private async step(): Promise<void> {
    const { random } = this.context
    const { members } = this.family
    const member = members[random.below(members.length)]
    if (member === undefined) return
    const [name, snapshot] = this.anyOf([...member.snapshots]) ?? []
    const step = weighted(random, steps)
    if (step === 'write') return this.writeSome(member, 1 + random.below(4))
    if (step === 'discard') return this.discard(member)
    if (step === 'snapshot' && member.snapshots.size < snapshotsMax) return this.takeSnapshot(member)
    if (step === 'flatten' && member.isClone) return this.flatten(member)
    if (step === 'remove') return this.remove(member)
    if (name === undefined || snapshot === undefined || step === 'read') return this.read(member, name, snapshot)
    if (step === 'clone' && members.length < membersMax) return this.clone(member, name, snapshot)
    if (step === 'rollback') return this.rollBack(member, name, snapshot)
    if (step === 'remove-snapshot') return this.removeSnapshot(member, name, snapshot)
  }

  private anyOf<T>(all: readonly T[]): T | undefined {
    return all[this.context.random.below(Math.max(1, all.length))]
  }

  /** One after the other, each inside of one object: `disk` is what the image holds when it resolves. */
  private async writeSome(member: Member, writes: number, onWritten: () => void = () => undefined): Promise<void> {
    const { random } = this.context
    for (let i = 0; i < writes && !this.over; i++) {
      const object = random.below(Math.ceil(imageBytes / objectBytes))
      const end = Math.min(objectBytes, imageBytes - object * objectBytes)
      const offset = random.below(end)
      const at = object * objectBytes + offset
      const data = tokenBytes(nextToken(this.context), 1 + random.below(end - offset))
      const disk = member.disk.slice()
      disk.set(data, at)
      await this.change(member, 'write', disk, () => member.image.write(at, data))
      onWritten()
    }
  }

  private async discard(member: Member): Promise<void> {
    const { random } = this.context
    const object = random.below(6)
    const whole = random.below(2) === 0
    const at = object * objectBytes + (whole ? 0 : random.below(objectBytes))
    const length = whole ? objectBytes : 1 + random.below(imageBytes - at)
    const disk = member.disk.slice().fill(0, at, at + length)
    await this.change(member, 'discard', disk, () => member.image.discard(at, length))
  }

  /** `disk`: what the image holds afterwards. */
  private async change(member: Member, kind: string, disk: Uint8Array, run: () => Promise<unknown>): Promise<void> {
    member.isKnown = false
    if ((await this.attempt(kind, run)) === undefined) return
    member.disk = disk
    member.isKnown = true
  }

  private async read(member: Member, name: string | undefined, snapshot: TakenSnapshot | undefined): Promise<void> {
    const isHead = name === undefined || snapshot === undefined || this.context.random.below(2) === 0
    const contents = isHead ? [member.disk] : snapshot.contents
    const spec = isHead ? member.name : `${member.name}@${name}`
    const bytes = await this.attempt('read', async () => bytesOf(isHead ? member.image : await this.store.open(spec)))
    if (bytes !== undefined) this.expect(spec, bytes, contents)
  }

  private async takeSnapshot(member: Member): Promise<void> {
    const name = `s${++this.count}`
    const contents = [member.disk]
    const writing =
      this.context.random.below(2) === 0 ? this.writeSome(member, 3, () => contents.push(member.disk)) : undefined
    const taken = await this.attempt('snapshot', () => this.store.snapshots.create(member.name, name))
    await writing
    if (taken === undefined) return
    member.snapshots.set(name, { id: taken.id, contents })
    if (writing === undefined) return
    // From here on it is one of them.
    const bytes = await this.attempt('read', async () => bytesOf(await this.store.open(`${member.name}@${name}`)))
    if (bytes === undefined) return
    this.expect(`${member.name}@${name}`, bytes, contents)
    member.snapshots.set(name, { id: taken.id, contents: [bytes] })
  }

  private async clone(member: Member, snapshot: string, { contents }: TakenSnapshot): Promise<void> {
    const [bytes] = contents
    if (bytes === undefined || contents.length > 1) return
    const name = `${this.prefix}-${++this.count}`
    const made = await this.attempt('clone', () => this.store.clones.create(name, { image: member.name, snapshot }))
    if (made !== undefined) await this.adopt(name, bytes.slice(), true)
  }

  private async adopt(name: string, disk: Uint8Array, isClone: boolean): Promise<void> {
    const image = await this.attempt('open', () => this.store.open(name))
    if (image === undefined) return
    this.family.members.push({
      name,
      id: image.header.id,
      image,
      disk,
      isKnown: true,
      isClone,
      snapshots: new Map(),
    })
  }

  private async rollBack(member: Member, name: string, { contents }: TakenSnapshot): Promise<void> {
    const [bytes] = contents
    if (bytes === undefined || contents.length > 1) return
    await this.change(member, 'rollback', bytes.slice(), async () => {
      await this.store.rollback(member.name, name)
      await member.image.refreshAnew()
    })
  }

  /** Its user goes on meanwhile. */
  private async flatten(member: Member): Promise<void> {
    const flattening = this.attempt('flatten', async () => {
      await this.store.clones.flatten(member.name)
      return true
    })
    await this.writeSome(member, this.context.random.below(5))
    if ((await flattening) === true) member.isClone = false
  }

  private async removeSnapshot(member: Member, name: string, { id }: TakenSnapshot): Promise<void> {
    member.snapshots.delete(name)
    const done = await this.attempt('remove-snapshot', async () => {
      await this.store.snapshots.remove(member.name, name)
      return this.store.info(member.name)
    })
    if (done?.snapshots?.entries.every((entry) => entry.id !== id) === true) this.family.goneSnapshots.add(id)
  }

  private async remove(member: Member): Promise<void> {
    if (member.snapshots.size > 0 || this.family.members.length < 2) return
    const { members, goneImages } = this.family
    members.splice(members.indexOf(member), 1)
    const removed = await this.attempt('remove', async () => {
      try {
        await this.store.remove(member.name)
        return 'gone'
      } catch (error) {
        // Clones need snapshots that are out of sight.
        if (isClusterError(error, 'EBUSY')) return 'needed'
        throw error
      }
    })
    if (removed === 'gone') goneImages.add(member.id)
    if (removed === 'needed') members.push(member)
  }

  /** Undefined, and the end of this family, when there was no answer, or one that says nothing about it. */
  private async attempt<T>(kind: string, run: () => Promise<T>): Promise<T | undefined> {
    const { history, nowMs, process } = this.context
    const event = history.begin(process, this.prefix, { kind }, nowMs())
    try {
      const value = await run()
      history.end(event, { kind: 'ok', value: undefined }, nowMs())
      // Nothing that resolves with nothing is asked for its value.
      return value ?? (true as T)
    } catch (error) {
      const outcome = outcomeOf(error)
      history.end(event, outcome, nowMs())
      this.over = true
      if (outcome.kind === 'failed' && impossible.has(outcome.code)) {
        this.report(this.prefix, `${kind} failed: ${String(error)}`, outcome)
      }
      return undefined
    }
  }

  private expect(spec: string, bytes: Uint8Array, contents: readonly Uint8Array[]): void {
    const problem = differenceOf(bytes, contents)
    if (problem !== undefined) this.report(spec, `${spec} ${problem}`, undefined)
  }

  private report(object: string, message: string, details: unknown): void {
    this.ledger.violations.push({ checker: 'image-family', object, message, details })
  }
}

/** Codes that say something of the images, which are this client's alone. */
const impossible: ReadonlySet<string> = new Set(['ENOENT', 'EEXIST', 'EINVAL', 'EBADMSG', 'EROFS', 'ERANGE', 'ENXIO'])

function differenceOf(bytes: Uint8Array, contents: readonly Uint8Array[]): string | undefined {
  if (contents.some((one) => Buffer.compare(one, bytes) === 0)) return undefined
  const last = contents.at(-1) ?? new Uint8Array()
  const at = bytes.findIndex((byte, i) => byte !== last[i])
  return `has ${bytes[at]} instead of ${last[at]} at ${at}, in object ${Math.floor(at / objectBytes)}`
}

async function bytesOf(image: Image): Promise<Uint8Array> {
  const bytes = new Uint8Array(image.sizeBytes)
  let at = 0
  const lengthOf = (piece: ImageData): number => (piece.kind === 'data' ? piece.data.length : piece.length)
  for (const piece of await image.read(0, bytes.length)) {
    if (piece.kind === 'data') bytes.set(piece.data, at)
    at += lengthOf(piece)
  }
  return bytes
}

function timersOf({ sleep }: WorkloadContext): Timers {
  return {
    after(delayMs, callback) {
      let cancelled = false
      void sleep(delayMs).then(() => {
        if (!cancelled) callback()
      })
      return {
        cancel: () => {
          cancelled = true
        },
      }
    },
    soon: (callback) => void sleep(0).then(callback),
  }
}

/** One broken promise shows in many places. */
const violationsMax = 5

async function checkEverything({ families, violations }: Ledger, final: FinalReader): Promise<readonly Violation[]> {
  const found: Violation[] = [...violations]
  for (const family of families) {
    if (found.length >= violationsMax) break
    found.push(...(await checkFamily(family, final)))
  }
  for (const pool of new Set(families.map((family) => family.pool))) {
    const gone = new Set(families.flatMap(({ goneSnapshots }) => [...goneSnapshots]))
    for (const copy of await final.replicas(pool)) found.push(...checkStoredClones(copy, gone))
  }
  return found.slice(0, violationsMax)
}

async function checkFamily({ pool, members, goneImages }: Family, final: FinalReader): Promise<readonly Violation[]> {
  const found: Violation[] = []
  const report = (object: string, message: string): void => {
    found.push({ checker: 'image-family', object, message, details: undefined })
  }
  const still = { monotonicMs: () => 0, wallMs: () => 0 }
  const timers: Timers = { after: () => ({ cancel: () => undefined }), soon: () => undefined }
  const random = { bytes: (length: number) => new Uint8Array(length) } as WorkloadContext['random']
  const store = new ImageStore({ clock: still, timers, random }, finalIo(pool, final))
  const look = async (spec: string, contents: readonly Uint8Array[]): Promise<void> => {
    try {
      const problem = differenceOf(await bytesOf(await store.open(spec)), contents)
      if (problem !== undefined) report(spec, `${spec} ${problem}, read in the end`)
    } catch (error) {
      // What was interrupted is for who may write.
      if (!isClusterError(error, 'EROFS', 'EBUSY')) report(spec, `${spec}: ${String(error)}`)
    }
  }
  for (const { name, disk, isKnown, snapshots } of members) {
    if (isKnown) await look(name, [disk])
    for (const [snapshot, { contents }] of snapshots) await look(`${name}@${snapshot}`, contents)
  }
  for (const object of (await final.list(pool)) ?? []) {
    if (goneImages.has(object.split('.')[1] ?? '')) report(object, `${object} is left of an image that was removed`)
  }
  return found
}

/** A pool of which everything is read when all is over. */
function finalIo(pool: string, final: FinalReader): ObjectIo {
  const answer = async (object: string, op: ObjectOp, snap: number | undefined): Promise<ObjectOpResult> => {
    const read = await final.read(pool, object, snap)
    if (read === undefined) throw new ClusterError('ENOENT', `no ${object}`)
    if (op.kind === 'read') return { kind: 'data', data: read.data.subarray(op.offset, op.offset + op.length) }
    if (op.kind !== 'omap-get-keys') throw new ClusterError('EROFS', 'it is only read')
    const entries = read.omap.filter(({ key }) => op.keys.some((wanted) => Buffer.compare(wanted, key) === 0))
    return { kind: 'omap', entries, more: false }
  }
  return {
    async execute(object, ops, { snap } = {}) {
      const results: ObjectOpResult[] = []
      for (const op of ops) results.push(await answer(object, op, snap))
      return { results }
    },
    inPool: () => finalIo(pool, final),
  }
}
