/** What operators do while everything goes on: none of it may cost an answer or a byte. */
import { noOsd, osdFlags } from '@shoal/cluster-map'
import type { OsdNode } from '../cluster/nodes.ts'
import { askOsdToScrub } from '../cluster/scrub-all.ts'
import type { SimCluster } from '../cluster/sim-cluster.ts'
import { compressionSettings } from '../scenario/compression-settings.ts'
import { domainsOf } from '../scenario/scenario.ts'
import { drawDaemon, type Fault, type FaultContext, nothing, osdNames, pick } from './fault.ts'
import { consent, isClean, operate, replaceDisk, sleep, waitFor } from './operations.ts'
import { merge, split } from './pg-num-faults.ts'

const whileItLasts = { min: 2_000, max: 60_000 }

function osd(cluster: SimCluster, name: unknown): OsdNode | undefined {
  return cluster.osds.find((one) => one.name === name)
}

/** Does something now and takes it back later. */
function during(
  { background }: FaultContext,
  name: string,
  begin: () => Promise<unknown>,
  end: () => Promise<unknown>,
) {
  let begun: Promise<unknown> = Promise.resolve()
  background(name, async () => {
    begun = begin()
    await begun
  })
  return () =>
    background(`${name}, back`, async () => {
      await begun.catch(nothing)
      await end()
    })
}

const outAndIn: Fault = {
  kind: 'osd-out',
  family: 'operator',
  weight: 3,
  durationMs: whileItLasts,
  draw: (random, plan) => ({ node: pick(random, osdNames(plan)) }),
  strike(context, { node }) {
    const { cluster } = context
    const found = osd(cluster, node)
    if (found === undefined) return undefined
    const ids = [found.id]
    return during(
      context,
      `${found.name} out`,
      () => operate(cluster, { prefix: 'osd out', ids }),
      async () => (found.removed ? undefined : operate(cluster, { prefix: 'osd in', ids })),
    )
  },
}

const reweight: Fault = {
  kind: 'osd-reweight',
  family: 'operator',
  weight: 2,
  durationMs: whileItLasts,
  draw: (random, plan) => ({ node: pick(random, osdNames(plan)), weight: Math.round(random.fraction() * 100) / 100 }),
  strike(context, { node, weight }) {
    const { cluster } = context
    const found = osd(cluster, node)
    if (found === undefined) return undefined
    const { id } = found
    return during(
      context,
      `${found.name} reweight`,
      () => operate(cluster, { prefix: 'osd reweight', id, weight }),
      async () => (found.removed ? undefined : operate(cluster, { prefix: 'osd reweight', id, weight: 1 })),
    )
  },
}

const primaryAffinity: Fault = {
  kind: 'osd-primary-affinity',
  family: 'operator',
  weight: 1,
  draw: (random, plan) => ({ node: pick(random, osdNames(plan)), weight: random.below(3) / 2 }),
  strike({ cluster, background }, { node, weight }) {
    const found = osd(cluster, node)
    if (found === undefined) return undefined
    background(`${found.name} affinity`, async () => {
      await operate(cluster, { prefix: 'osd primary-affinity', id: found.id, weight })
    })
    return nothing
  },
}

const markDown: Fault = {
  kind: 'osd-down',
  family: 'operator',
  weight: 2,
  draw: (random, plan) => ({ node: pick(random, osdNames(plan)) }),
  strike({ cluster, background }, { node }) {
    const found = osd(cluster, node)
    if (found === undefined) return undefined
    background(`${found.name} down`, async () => {
      await operate(cluster, { prefix: 'osd down', ids: [found.id] })
    })
    return nothing
  },
}

const restart: Fault = {
  kind: 'restart',
  family: 'operator',
  weight: 3,
  draw: (random, plan) => ({
    node: drawDaemon(random, plan),
    downMs: random.below(3) === 0 ? random.below(20_000) : 0,
  }),
  strike({ cluster, background }, { node, downMs }) {
    const found = cluster.find(String(node))
    if (found?.wanted !== true) return undefined
    background(`${found.name} restart`, async () => {
      await found.stop()
      await sleep(cluster, downMs as number)
      found.start()
    })
    return nothing
  },
}

const flag: Fault = {
  kind: 'osd-flag',
  family: 'operator',
  weight: 3,
  durationMs: whileItLasts,
  draw: (random) => ({ flag: pick(random, [...osdFlags.filter((name) => name !== 'full'), 'pause']) }),
  strike(context, { flag: key }) {
    const { cluster } = context
    return during(
      context,
      `flag ${String(key)}`,
      () => operate(cluster, { prefix: 'osd set', key }),
      () => operate(cluster, { prefix: 'osd unset', key }),
    )
  },
}

const upmap: Fault = {
  kind: 'upmap',
  family: 'operator',
  weight: 2,
  durationMs: whileItLasts,
  draw: (random, plan) => ({
    pool: random.below(plan.pools.length),
    seed: random.below(16),
    from: random.below(8),
    to: pick(random, plan.osds).id,
  }),
  strike(context, { pool, seed, from, to }) {
    const { cluster } = context
    const pgid = `${(pool as number) + 1}.${(seed as number).toString(16)}`
    return during(
      context,
      `upmap ${pgid}`,
      async () => {
        const { data } = await operate(cluster, { prefix: 'pg map', pgid })
        const { up } = data as { readonly up: readonly number[] }
        const id = [up[(from as number) % Math.max(1, up.length)], to]
        if (!up.includes(to as number)) await operate(cluster, { prefix: 'osd pg-upmap-items', pgid, id })
      },
      () => operate(cluster, { prefix: 'osd rm-pg-upmap-items', pgid }),
    )
  },
}

/** Another member becomes the primary, with all that an interval is; perhaps one that is about to leave the set. */
const upmapPrimary: Fault = {
  kind: 'upmap-primary',
  family: 'operator',
  weight: 2,
  durationMs: whileItLasts,
  draw: (random, plan) => ({ pool: random.below(plan.pools.length), seed: random.below(16), to: random.below(8) }),
  strike(context, { pool, seed, to }) {
    const { cluster } = context
    const pgid = `${(pool as number) + 1}.${(seed as number).toString(16)}`
    return during(
      context,
      `upmap primary ${pgid}`,
      async () => {
        const { data } = await operate(cluster, { prefix: 'pg map', pgid })
        const { up } = data as { readonly up: readonly number[] }
        const id = up[(to as number) % Math.max(1, up.length)]
        if (id === undefined || id === noOsd) return
        await operate(cluster, { prefix: 'osd pg-upmap-primary', pgid, id })
      },
      () => operate(cluster, { prefix: 'osd rm-pg-upmap-primary', pgid }),
    )
  },
}

const crushWeight: Fault = {
  kind: 'crush-reweight',
  family: 'operator',
  weight: 2,
  draw: (random, plan) => ({ node: pick(random, osdNames(plan)), weight: 0.00005 + 0.00006 * random.fraction() }),
  strike({ cluster, background }, { node, weight }) {
    const found = osd(cluster, node)
    if (found === undefined) return undefined
    background(`${found.name} crush reweight`, async () => {
      await operate(cluster, { prefix: 'osd crush reweight', name: found.name, weight })
    })
    return nothing
  },
}

const pools: Fault = {
  kind: 'pool-come-and-go',
  family: 'operator',
  weight: 2,
  durationMs: whileItLasts,
  draw: (random) => ({ name: `passing-${random.uint32()}`, pgNum: 1 + random.below(8) }),
  strike(context, { name, pgNum }) {
    const { cluster } = context
    return during(
      context,
      `pool ${String(name)}`,
      () => operate(cluster, { prefix: 'osd pool create', pool: name, pg_num: pgNum }),
      () => operate(cluster, { prefix: 'osd pool delete', pool: name, pool2: name, ...consent }),
    )
  },
}

/** A pool is compressed in another way, or not any more; what is stored stays as it is. */
const poolCompression: Fault = {
  kind: 'pool-compression',
  family: 'operator',
  weight: 1,
  draw: (random, plan) => ({ pool: random.below(plan.pools.length), settings: compressionSettings(random) }),
  strike({ cluster, background }, { pool, settings }) {
    const name = cluster.scenario.pools[pool as number]?.name
    if (name === undefined) return undefined
    background(`${name} compression`, async () => {
      for (const [setting, val] of Object.entries(settings as Readonly<Record<string, string>>)) {
        await operate(cluster, { prefix: 'osd pool set', pool: name, var: setting, val })
      }
    })
    return nothing
  },
}

/** A store that is gone, and a new one under its id. */
const diskLoss: Fault = {
  kind: 'disk-loss',
  family: 'disk',
  weight: 1,
  draw: (random, plan) => ({ node: pick(random, osdNames(plan)), downMs: random.below(30_000) }),
  strike({ cluster, budget, background }, { node, downMs }) {
    const found = osd(cluster, node)
    if (found?.wanted !== true || found.held || !budget.lose(found.name)) return undefined
    found.wanted = false
    found.held = true
    if (found.isAlive) found.kill()
    found.machine.replaceDisk()
    const { id } = found
    background(`${found.name} new disk`, async () => {
      try {
        await sleep(cluster, downMs as number)
        await operate(cluster, { prefix: 'osd down', ids: [id] })
        // It may be marked up again by a boot that was still on its way.
        await operate(cluster, { prefix: 'osd destroy', id, ...consent }, ['EBUSY'])
      } finally {
        found.held = false
        found.start()
      }
      await waitFor(cluster, () => found.daemon?.isUp === true)
      if (await waitFor(cluster, () => isClean(cluster))) budget.restored(found.name)
    })
    return nothing
  },
}

const addOsd: Fault = {
  kind: 'osd-add',
  family: 'operator',
  weight: 1,
  draw: (random, plan) => {
    const beside = pick(random, plan.osds)
    return { id: plan.osds.length + random.below(4), host: beside.host, rack: beside.rack }
  },
  strike({ cluster }, { id, host, rack }) {
    if (cluster.osds.length >= 24 || cluster.find(`osd.${String(id)}`) !== undefined) return undefined
    cluster.addOsdNode({ id: id as number, host: host as string, rack: rack as string }).start()
    return nothing
  },
}

/** Shards have nowhere else to go when the last OSD of a failure domain does, unless there are more than they need. */
function leavesPlaces({ osds, scenario: { pools, failureDomain } }: SimCluster, leaving: OsdNode): boolean {
  const left = osds.filter((one) => one !== leaving).map(({ place }) => place)
  return (
    domainsOf({ osds: left, failureDomain }) >=
    Math.max(0, ...pools.filter(({ erasure }) => erasure !== undefined).map(({ size }) => size))
  )
}

/** As the manual says: out, wait until its data is elsewhere, stop, purge. */
const removeOsd: Fault = {
  kind: 'osd-remove',
  family: 'operator',
  weight: 1,
  draw: (random, plan) => ({ node: pick(random, osdNames(plan)) }),
  strike({ cluster, budget, background }, { node }) {
    const found = osd(cluster, node)
    const enough = cluster.osds.length > Math.max(4, ...cluster.scenario.pools.map((pool) => pool.size + 1))
    if (found === undefined || !enough || !leavesPlaces(cluster, found) || !budget.beginOperation()) return undefined
    const ids = [found.id]
    background(`${found.name} remove`, async () => {
      try {
        await operate(cluster, { prefix: 'osd out', ids })
        const moved = await waitFor(cluster, () => isClean(cluster), 120_000)
        // Only what all others have may go; else it comes back.
        if (!moved || !(await waitFor(cluster, () => isClean(cluster), 5_000)) || cluster.osds.length <= 4) {
          await operate(cluster, { prefix: 'osd in', ids })
          return
        }
        found.held = true
        await found.stop()
        found.removed = true
        await operate(cluster, { prefix: 'osd down', ids })
        await operate(cluster, { prefix: 'osd purge', id: found.id, ...consent }, ['EBUSY'])
        cluster.forgetNode(found)
      } finally {
        budget.endOperation()
      }
    })
    return nothing
  },
}

const scrub: Fault = {
  kind: 'scrub',
  family: 'operator',
  weight: 3,
  draw: (random, plan) => ({
    node: pick(random, osdNames(plan)),
    what: pick(random, ['scrub', 'deep-scrub', 'deep-scrub', 'repair'] as const),
  }),
  strike({ cluster, background }, { node, what }) {
    background(`${String(node)} ${String(what)}`, () =>
      askOsdToScrub(cluster, String(node), what as 'scrub' | 'deep-scrub' | 'repair'),
    )
    return nothing
  },
}

const crushWeightDrawn = 0.0001

/**
 * Some are emptied side by side, and get new disks once the cluster says that they may be destroyed: no budget is asked, for
 * nothing that is needed may be on them.
 */
const drainOsds: Fault = {
  kind: 'osd-drain',
  family: 'operator',
  weight: 1,
  draw: (random, plan) => {
    const names = [...osdNames(plan)]
    const count = 1 + random.below(Math.max(1, Math.min(3, names.length - 4)))
    return { nodes: Array.from({ length: count }, () => names.splice(random.below(names.length), 1)[0]) }
  },
  strike({ cluster, budget, background }, { nodes }) {
    const found = (nodes as readonly string[]).flatMap((name) => osd(cluster, name) ?? [])
    const left = cluster.osds.length - found.length
    const enough = left >= Math.max(3, ...cluster.scenario.pools.map((pool) => pool.size))
    if (found.length === 0 || !enough || found.some((one) => !one.wanted || one.held) || !budget.beginOperation())
      return undefined
    const ids = found.map(({ id }) => id)
    background(`drain ${found.map(({ name }) => name).join(', ')}`, async () => {
      try {
        await operate(cluster, { prefix: 'osd drain', ids })
        if (await waitFor(cluster, () => isSafe(cluster, ids), 120_000)) {
          for (const one of found) await replaceDisk(cluster, one)
        }
      } finally {
        for (const { name } of found) {
          await operate(cluster, { prefix: 'osd crush reweight', name, weight: crushWeightDrawn })
        }
        budget.endOperation()
      }
    })
    return nothing
  },
}

async function isSafe(cluster: SimCluster, ids: readonly number[]): Promise<boolean> {
  try {
    await cluster.command({ prefix: 'osd safe-to-destroy', ids }, 10_000)
    return true
  } catch {
    return false
  }
}

/** A placement group begins a new interval, with the same members. */
const repeer: Fault = {
  kind: 'pg-repeer',
  family: 'operator',
  weight: 1,
  draw: (random, plan) => ({ pool: random.below(plan.pools.length), seed: random.below(16) }),
  strike({ cluster, background }, { pool, seed }) {
    const pgid = `${(pool as number) + 1}.${(seed as number).toString(16)}`
    background(`repeer ${pgid}`, async () => {
      await operate(cluster, { prefix: 'pg repeer', pgid })
    })
    return nothing
  },
}

export const operatorFaults: readonly Fault[] = [
  outAndIn,
  reweight,
  primaryAffinity,
  markDown,
  restart,
  flag,
  upmap,
  upmapPrimary,
  crushWeight,
  pools,
  split,
  merge,
  poolCompression,
  diskLoss,
  addOsd,
  removeOsd,
  drainOsds,
  repeer,
  scrub,
]
