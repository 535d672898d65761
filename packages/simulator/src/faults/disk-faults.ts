/** Disks that fail, lie, decay, slow down and fill up. */
import type { Prng } from '@shoal/base'
import type { FileChange, IoOperation } from '@shoal/testkit'
import type { DaemonNode } from '../cluster/daemon-node.ts'
import { osdDirectory } from '../cluster/nodes.ts'
import type { SimCluster } from '../cluster/sim-cluster.ts'
import { between, drawDaemon, type Fault, nothing, osdNames, pick } from './fault.ts'

/** A daemon whose fsync failed knows nothing about what it wrote: it must be gone by then. */
const mustEndWithinMs = 10_000
const blockBytes = 4096

const files = { data: `${osdDirectory}/store/data`, journal: `${osdDirectory}/store/journal` } as const

function watchEnd(cluster: SimCluster, node: DaemonNode, what: string): void {
  const life = node.machine.scope
  cluster.time.schedule(mustEndWithinMs, undefined, () => {
    if (life === undefined || node.machine.scope !== life) return
    // A stopped process cannot end; ask again.
    if (life.paused) watchEnd(cluster, node, what)
    else cluster.crash(node.name, `lives on after a failed ${what}`, undefined)
  })
}

const ioError: Fault = {
  kind: 'io-error',
  family: 'disk',
  weight: 3,
  durationMs: { min: 100, max: 5_000 },
  draw: (random, plan) => ({
    node: drawDaemon(random, plan),
    operation: pick(random, ['write', 'datasync', 'key-value-batch']),
    count: 1 + random.below(3),
  }),
  strike({ cluster }, { node, operation, count }) {
    const found = cluster.find(String(node))
    if (found?.isAlive !== true || found.daemon === undefined) return undefined
    let left = count as number
    const fault = (one: IoOperation): 'EIO' | undefined => {
      if (one.kind !== operation || left <= 0) return undefined
      left--
      found.injectedErrors++
      watchEnd(cluster, found, one.kind)
      return 'EIO'
    }
    found.machine.fault = fault
    return () => {
      if (found.machine.fault === fault) found.machine.fault = undefined
    }
  },
}

const slowDisk: Fault = {
  kind: 'slow-disk',
  family: 'disk',
  weight: 2,
  durationMs: { min: 1_000, max: 60_000 },
  draw: (random, plan) => ({
    node: drawDaemon(random, plan),
    extraMs: between(random, 5, 10 ** (1 + 2 * random.fraction())),
  }),
  strike({ cluster }, { node, extraMs }) {
    const machine = cluster.find(String(node))?.machine
    if (machine === undefined) return undefined
    machine.extraIoDelayMs = extraMs as number
    return () => {
      machine.extraIoDelayMs = 0
    }
  },
}

function drawStore(random: Prng, names: readonly string[]): Record<string, unknown> {
  return { node: pick(random, names), salt: random.uint32() }
}

/** Flips bits of what is stored. */
const bitRot: Fault = {
  kind: 'bit-rot',
  family: 'disk',
  weight: 2,
  draw: (random, plan) => ({
    ...drawStore(random, osdNames(plan)),
    file: random.below(4) === 0 ? 'journal' : 'data',
    flips: 1 + random.below(8),
  }),
  strike({ cluster, budget }, { node, salt, file, flips }) {
    const found = cluster.find(String(node))
    if (found === undefined || !budget.rot(found.name)) return undefined
    const path = files[file as keyof typeof files]
    const stored = found.machine.disk.find(path)
    const offsets = stored?.kind === 'file' ? stored.allocatedOffsets() : []
    if (offsets.length === 0) return undefined
    for (let i = 0; i < (flips as number); i++) {
      const draw = Math.imul((salt as number) + i, 2654435761) >>> 0
      const page = offsets[draw % offsets.length] as number
      found.machine.disk.flip(path, page + ((draw >>> 8) % blockBytes), 1 << (draw & 7))
    }
    return nothing
  },
}

/** Flips bits of records of the key-value store, whatever they are about. */
const metadataRot: Fault = {
  kind: 'metadata-rot',
  family: 'disk',
  weight: 1,
  draw: (random, plan) => ({ ...drawStore(random, osdNames(plan)), flips: 1 + random.below(4) }),
  strike({ cluster, budget }, { node, salt, flips }) {
    const found = cluster.find(String(node))
    if (found === undefined || !budget.rot(found.name)) return undefined
    const disk = found.machine.keyValue.disk(`${osdDirectory}/store/meta`)
    // Not the two records without which there is no store, and not the list of collections.
    const records = disk.entries({}).filter(([key]) => mendable.has(String.fromCharCode(key[0] ?? 0)))
    if (records.length === 0) return undefined
    for (let i = 0; i < (flips as number); i++) {
      const draw = Math.imul((salt as number) + i, 2654435761) >>> 0
      const [key, value] = records[draw % records.length] as (typeof records)[number]
      disk.flip(key, (draw >>> 8) % value.length, 1 << (draw & 7))
    }
    // A record that a transaction needs ends the daemon: what it missed is recovered once it runs again.
    found.injectedErrors++
    return nothing
  },
}

const mendable = new Set(['O', 'B', 'P', 'M'])

/** A write that is acknowledged and goes elsewhere, or nowhere. */
function lying(kind: string, lie: (change: FileChange & { readonly kind: 'write' }) => readonly FileChange[]): Fault {
  return {
    kind,
    family: 'disk',
    weight: 1,
    durationMs: { min: 1_000, max: 30_000 },
    draw: (random, plan) => ({ ...drawStore(random, osdNames(plan)), one: 5 + random.below(60) }),
    strike({ cluster, budget }, { node, one }) {
      const found = cluster.find(String(node))
      if (found === undefined || !budget.rot(found.name)) return undefined
      const { disk } = found.machine
      let writes = 0
      const mangle = (path: string, change: FileChange): readonly FileChange[] => {
        if (path !== files.data || change.kind !== 'write') return [change]
        return ++writes % (one as number) === 0 ? lie(change) : [change]
      }
      disk.mangle = mangle
      return () => {
        if (disk.mangle === mangle) disk.mangle = undefined
      }
    },
  }
}

const lostWrite = lying('lost-write', () => [])
const misdirectedWrite = lying('misdirected-write', (change) => [
  { ...change, offset: Math.max(0, change.offset + (change.offset >= 8 * blockBytes ? -8 : 8) * blockBytes) },
])

export const diskFaults: readonly Fault[] = [ioError, slowDisk, bitRot, metadataRot, lostWrite, misdirectedWrite]

/** Kinds that damage what is stored: only after one of them may scrub find anything. */
export const spoilingKinds: readonly string[] = [bitRot, metadataRot, lostWrite, misdirectedWrite].map(
  ({ kind }) => kind,
)
