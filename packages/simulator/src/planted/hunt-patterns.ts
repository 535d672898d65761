/**
 * Sequences of faults for hunts: what brings a mechanism into the corner where it matters, drawn from the kinds of faults
 * that every simulation has.
 */
import type { Prng } from '@shoal/base'
import type { FaultEvent, Scenario } from '../scenario/scenario.ts'

type Plan = Omit<Scenario, 'faults'>

/** Events of one occurrence, relative to its beginning. */
export type HuntPattern = (random: Prng, plan: Plan) => readonly FaultEvent[]

const osd = (id: number): string => `osd.${id}`
const monitor = (at: number): string => `mon.${String.fromCharCode(97 + at)}`

function cutApart(atMs: number, durationMs: number, a: string, others: readonly string[]): readonly FaultEvent[] {
  return others
    .filter((b) => b !== a)
    .map((b) => ({ atMs, kind: 'partial-partition', durationMs, params: { a, b, oneWay: 0 } }))
}

function outage(atMs: number, durationMs: number, node: string): FaultEvent {
  return { atMs, kind: 'outage', durationMs, params: { node } }
}

/** Client processes: as many as the workloads have. */
function clientsOf(plan: Plan): number {
  return plan.workloads.reduce((sum, { clients }) => sum + clients, 0)
}

function slowDisk(atMs: number, durationMs: number, node: string, extraMs: number): FaultEvent {
  return { atMs, kind: 'slow-disk', durationMs, params: { node, extraMs } }
}

const osdNames = (plan: Plan): readonly string[] => plan.osds.map(({ id }) => osd(id))
const monitorNames = (plan: Plan): readonly string[] => Array.from({ length: plan.monitors }, (_, at) => monitor(at))

export type PatternName =
  | 'lonelyThenDead'
  | 'splitAndCrash'
  | 'mergeAndCrash'
  | 'mergeWhileAway'
  | 'lonelyAndForgotten'
  | 'halfCut'
  | 'stalePrimaryAndClients'
  | 'leapfrog'
  | 'lastOneStanding'
  | 'returnAndCrash'
  | 'slowThenDark'
  | 'changeThenDark'
  | 'deafThenMoved'
  | 'flap'
  | 'lostAnswers'
  | 'deafClient'
  | 'lostOwner'
  | 'lonelyMonitor'
  | 'rivalMonitors'

export const patterns: Readonly<Record<PatternName, HuntPattern>> = {
  /** Crashes all around the moment in which PGs are split. */
  splitAndCrash(random, plan) {
    const { name } = plan.pools[random.below(plan.pools.length)] as Plan['pools'][number]
    const times = 1.5 + random.fraction()
    const crashes = Array.from({ length: 3 }, () => ({
      atMs: 100 + random.below(500),
      kind: 'crash',
      params: { node: osd(random.below(plan.osds.length)) },
    }))
    return [{ atMs: 0, kind: 'pg-split', params: { pool: name, times, atOnce: true } }, ...crashes]
  },
  /** Crashes while PGs are merged one after the other. */
  mergeAndCrash(random, plan) {
    const { name } = plan.pools[random.below(plan.pools.length)] as Plan['pools'][number]
    const crashes = Array.from({ length: 4 }, () => ({
      atMs: 1_500 + random.below(6_000),
      kind: 'crash',
      params: { node: osd(random.below(plan.osds.length)) },
    }))
    return [{ atMs: 0, kind: 'pg-merge', params: { pool: name, part: random.fraction() } }, ...crashes]
  },
  /** PGs are merged, while one that had all of them is away: others take its place first, and what it has is old. */
  mergeWhileAway(random, plan) {
    const { name } = plan.pools[random.below(plan.pools.length)] as Plan['pools'][number]
    return [
      { atMs: 0, kind: 'pg-merge', params: { pool: name, part: random.fraction() / 2 } },
      outage(2_000 + random.below(8_000), 30_000, osd(random.below(plan.osds.length))),
    ]
  },
  /** An OSD that clients reach and its peers do not; then it dies for a while. */
  lonelyThenDead(random, plan) {
    const lonely = osd(random.below(plan.osds.length))
    const dies = 200 + random.below(1_500)
    return [...cutApart(0, dies + 2_000, lonely, osdNames(plan)), outage(dies, 6_000, lonely)]
  },
  /** The same, and half of the clients that wait for it die before it does: what it alone has is not asked for again. */
  lonelyAndForgotten(random, plan) {
    const lonely = osd(random.below(plan.osds.length))
    const dies = 1_500 + random.below(1_500)
    const clients = Array.from({ length: clientsOf(plan) }, (_, at) => at).filter(() => random.below(2) === 0)
    return [
      ...cutApart(0, dies + 2_000, lonely, osdNames(plan)),
      ...clients.map((at) => ({ atMs: dies - 100, kind: 'client-crash', params: { at } })),
      outage(dies, 6_000, lonely),
    ]
  },
  /** Some of its peers do not hear it, the others do; then it is gone for a while. */
  halfCut(random, plan) {
    const cut = osd(random.below(plan.osds.length))
    const deaf = osdNames(plan).filter(() => random.below(2) === 0)
    const dies = 300 + random.below(1_500)
    return [...cutApart(0, dies + 2_000, cut, deaf), outage(dies, 5_000, cut)]
  },
  /** A primary that nobody but clients with old maps talks to. */
  stalePrimaryAndClients(random, plan) {
    const stale = osd(random.below(plan.osds.length))
    const clients = Array.from({ length: clientsOf(plan) }, (_, at) => at).filter(() => random.below(2) === 0)
    return [
      ...cutApart(0, 9_000, stale, [...osdNames(plan), ...monitorNames(plan)]),
      { atMs: 0, kind: 'clients-with-old-maps', durationMs: 9_000, params: { clients } },
    ]
  },
  /** First one is away while the others write, then it is back and they are away. */
  leapfrog(random, plan) {
    const back = random.below(plan.osds.length)
    const others = plan.osds.map(({ id }) => id).filter((id) => id !== back)
    return [outage(0, 6_000, osd(back)), ...others.map((id) => outage(5_500 + random.below(300), 5_000, osd(id)))]
  },
  /** All but one are away; then it is away and they are back. */
  lastOneStanding(random, plan) {
    const last = random.below(plan.osds.length)
    const others = plan.osds.map(({ id }) => id).filter((id) => id !== last)
    return [...others.map((id) => outage(random.below(200), 6_000, osd(id))), outage(5_500, 5_000, osd(last))]
  },
  /** Back after a while, and dead again before it has caught up. */
  returnAndCrash(random, plan) {
    const victim = osd(random.below(plan.osds.length))
    const crash = { kind: 'crash', params: { node: victim } }
    return [
      outage(0, 4_000, victim),
      { ...crash, atMs: 4_300 + random.below(1_500) },
      { ...crash, atMs: 6_500 + random.below(1_500) },
    ]
  },
  /** Power goes where the disks are slow, and the one with the quick disk goes away: what only it has stored is not there. */
  slowThenDark(random, plan) {
    const quick = random.below(plan.osds.length)
    const nodes = osdNames(plan).filter((name) => name !== osd(quick))
    const dark = 600 + random.below(900)
    return [
      ...nodes.map((node) => slowDisk(0, dark + 100, node, 20 + random.below(200))),
      { atMs: dark, kind: 'power-cut', durationMs: 300, params: { nodes } },
      outage(dark, 7_000, osd(quick)),
    ]
  },
  /** One dies, so that the others agree anew while their disks are slow; then all of these but one lose their power. */
  changeThenDark(random, plan) {
    const rest = [...osdNames(plan)]
    const take = (): string => rest.splice(random.below(rest.length), 1)[0] as string
    const [gone, quick] = [take(), take()]
    const dies = 300 + random.below(300)
    const dark = dies + 20 + random.below(1_200)
    return [
      ...rest.map((node) => slowDisk(0, dark + 100, node, 50 + random.below(500))),
      outage(dies, 6_000, gone),
      { atMs: dark, kind: 'power-cut', durationMs: 300, params: { nodes: rest } },
      outage(dark + 3_000, 5_000, quick),
    ]
  },
  /** One does not hear of the writes of the others; then half of all are to be emptied, and most shards are to move. */
  deafThenMoved(random, plan) {
    const rest = [...osdNames(plan)]
    const deaf = rest[random.below(rest.length)] as string
    const movesAtMs = 200 + random.below(600)
    const cuts = rest
      .filter((name) => name !== deaf)
      .map((a) => ({
        atMs: 0,
        kind: 'partial-partition',
        durationMs: movesAtMs + 300,
        params: { a, b: deaf, oneWay: 1 },
      }))
    const emptied = Array.from({ length: plan.osds.length >> 1 }, () => ({
      atMs: movesAtMs,
      kind: 'osd-out',
      durationMs: 8_000,
      params: { node: rest.splice(random.below(rest.length), 1)[0] as string },
    }))
    return [...cuts, ...emptied]
  },
  /** One is away for so short that its placement groups only change hands, there and back. */
  flap(random, plan) {
    return [outage(0, 200 + random.below(1_500), osd(random.below(plan.osds.length)))]
  },
  /** Answers of OSDs to clients are lost, and the clients ask again. */
  lostAnswers(random, plan) {
    const node = osd(random.below(plan.osds.length))
    return Array.from({ length: 4 }, (_, i) => ({
      atMs: i * 90 + random.below(80),
      kind: 'reset-connections',
      params: { a: node, b: '' },
    }))
  },
  /** A client is heard and hears nothing; its connections break, and it asks again, long after the others went on. */
  deafClient(random, plan) {
    const client = `client-${1 + random.below(clientsOf(plan))}`
    const deafMs = 300 + random.below(1_200)
    return [
      ...osdNames(plan).map((a) => ({
        atMs: 0,
        kind: 'partial-partition',
        durationMs: deafMs + 50,
        params: { a, b: client, oneWay: 1 },
      })),
      { atMs: deafMs, kind: 'reset-connections', params: { a: client, b: '' } },
    ]
  },
  /**
   * A client whose requests (to all OSDs, or to one) wait until others have taken its place, and then arrive at once;
   * sometimes most monitors are away meanwhile.
   */
  lostOwner(random, plan) {
    const client = `client-${1 + random.below(clientsOf(plan))}`
    const lostMs = 8_000 + random.below(6_000)
    const unreached = random.below(3) === 0 ? [osd(random.below(plan.osds.length))] : osdNames(plan)
    return [
      ...unreached.map((b) => ({
        atMs: 0,
        kind: 'partial-partition',
        durationMs: lostMs,
        params: { a: client, b, oneWay: 1 },
      })),
      // Nothing is decided in the time in which others would have it fenced.
      ...(random.below(3) === 0 ? [] : monitorNames(plan).slice(1)).map((name) =>
        outage(3_000 + random.below(2_000), lostMs, name),
      ),
    ]
  },
  /** A monitor that clients reach and the others do not. */
  lonelyMonitor(random, plan) {
    return cutApart(0, 2_000 + random.below(2_500), monitor(random.below(plan.monitors)), monitorNames(plan))
  },
  /** Two monitors that do not see each other and store slowly; both need the others, which restart again and again. */
  rivalMonitors(random, plan) {
    const lastsMs = 8_000
    const names = monitorNames(plan)
    const first = random.below(names.length)
    const second = (first + 1 + random.below(names.length - 1)) % names.length
    const events = [...cutApart(0, lastsMs, monitor(first), [monitor(second)])]
    for (const at of [first, second]) events.push(slowDisk(0, lastsMs, monitor(at), 300 + random.below(900)))
    for (const voter of names.filter((_, at) => at !== first && at !== second)) {
      for (let atMs = 0; atMs < lastsMs; atMs += 400 + random.below(900)) events.push(outage(atMs, 100, voter))
    }
    return events
  },
}
