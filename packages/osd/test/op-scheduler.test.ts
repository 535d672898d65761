/** Clients and recovery on one disk, by profile: who waits, who does not, and what each gets. */
import { makeSimEnv } from '@shoal/testkit'
import { describe, expect, it } from 'vitest'
import { OpScheduler } from '../src/op-scheduler.ts'

const mebibyte = 1024 * 1024
const costPerOp = 16 * 1024
const settings = (profile: string) => ({
  osd_mclock_profile: profile,
  // Far from what the disk below does: shares do not depend on it.
  osd_mclock_max_sequential_bandwidth: 1024 * mebibyte,
  osd_mclock_cost_per_op: costPerOp,
})
const pieceBytes = 256 * 1024
const opBytes = 8 * 1024
const diskBytesPerMs = (100 * mebibyte) / 1_000

/** A disk that does one thing after the other, at 100 MiB of cost per second. */
function setUp(profile: string) {
  const { world, env } = makeSimEnv({ seed: 1 })
  const changing = { ...settings(profile) }
  const done = { client: 0, recovery: 0 }
  let clientOps = 0
  let busyUntilMs = 0
  const owner = { round: 0 }
  const scheduler = new OpScheduler(env, changing, () => clientOps)
  const onDisk = (cost: number, then: () => void): void => {
    const nowMs = env.clock.monotonicMs()
    busyUntilMs = Math.max(busyUntilMs, nowMs) + cost / diskBytesPerMs
    env.timers.after(busyUntilMs - nowMs, then)
  }
  /** Always another piece, as soon as one was let in and moved. */
  const recover = (): void =>
    scheduler.submit(owner, 'recovery', () =>
      onDisk(pieceBytes + costPerOp, () => {
        done.recovery += pieceBytes + costPerOp
        recover()
        scheduler.spent(owner, 'recovery', pieceBytes)
      }),
    )
  const op = (then: () => void): void => {
    clientOps++
    const go = (): void =>
      onDisk(opBytes + costPerOp, () => {
        done.client += opBytes + costPerOp
        clientOps--
        scheduler.onClientDone()
        then()
      })
    if (scheduler.admitsClient(opBytes)) go()
    else scheduler.hold(opBytes, go)
  }
  /** `inFlight` clients, each with its next operation right after the last. */
  const work = (inFlight: number): void => {
    const again = (): void => op(again)
    for (let i = 0; i < inFlight; i++) again()
  }
  const advance = (ms: number): Promise<void> => world.time.advance(ms)
  return { env, scheduler, owner, changing, done, recover, work, op, advance }
}

async function shareOfRecovery(profile: string): Promise<number> {
  const { done, recover, work, advance } = setUp(profile)
  work(64)
  for (let i = 0; i < 32; i++) recover()
  await advance(500)
  const before = { ...done }
  await advance(2_000)
  const recovered = done.recovery - before.recovery
  const all = recovered + done.client - before.client
  // The disk is never idle.
  expect(all / 2 / mebibyte).toBeGreaterThan(98)
  return recovered / all
}

describe('the scheduler', () => {
  it('divides a disk that both want as the profile says, whatever the disk can do', async () => {
    const client = await shareOfRecovery('high_client_ops')
    const balanced = await shareOfRecovery('balanced')
    const recovery = await shareOfRecovery('high_recovery_ops')
    expect(client).toBeLessThan(0.45)
    expect(client).toBeGreaterThan(0.3)
    expect(balanced).toBeLessThan(0.58)
    expect(balanced).toBeGreaterThan(0.42)
    expect(recovery).toBeLessThan(0.8)
    expect(recovery).toBeGreaterThan(0.6)
  })

  it('gives recovery all that clients leave', async () => {
    const { done, recover, advance } = setUp('high_client_ops')
    for (let i = 0; i < 8; i++) recover()
    await advance(1_000)
    expect(done.recovery / mebibyte).toBeGreaterThan(98)
  })

  it('lets no client wait while nothing else wants the disk, however much they do', async () => {
    const { scheduler, work, advance } = setUp('high_recovery_ops')
    work(10_000)
    await advance(100)
    expect(scheduler.summary().classes.client.admitted).toBe(0)
  })

  it('lets recovery in at once after a time in which clients alone were busy', async () => {
    const { scheduler, owner, work, advance } = setUp('high_client_ops')
    work(64)
    await advance(1_000)
    let letIn = false
    scheduler.submit(owner, 'recovery', () => {
      letIn = true
    })
    expect(letIn).toBe(true)
  })

  it('rests between pieces though a client is between two operations, and no longer once it is gone', async () => {
    const { env, owner, scheduler, op, advance } = setUp('high_client_ops')
    // The piece is gone for 40 ms, so recovery rests for longer; the client asks for little, 10 ms after each answer.
    let pieces = 0
    const piece = (): void =>
      scheduler.submit(owner, 'recovery', () => {
        pieces++
        env.timers.after(40, () => {
          scheduler.spent(owner, 'recovery', pieceBytes)
          piece()
        })
      })
    let there = true
    const again = (): void => op(() => env.timers.after(10, () => there && again()))
    again()
    piece()
    await advance(2_000)
    const beside = pieces
    there = false
    await advance(200)
    const before = pieces
    await advance(2_000)
    expect(beside).toBeLessThan(22)
    expect(pieces - before).toBeGreaterThan(45)
  })

  it('lets one side in while the other waits for it', async () => {
    const { scheduler, owner, done, recover, work, advance } = setUp('high_recovery_ops')
    work(64)
    for (let i = 0; i < 32; i++) recover()
    await advance(100)
    // What is lost with its interval never says that it is done.
    for (let i = 0; i < 100; i++) scheduler.submit(owner, 'recovery', () => {})
    await advance(2_000)
    const before = done.client
    await advance(5_000)
    expect(done.client).toBeGreaterThan(before)
    expect(scheduler.summary().classes.recovery.waiting).toBeLessThan(100)
  })

  it('gets back at once what ends with the interval of a placement group, and counts nothing of it that waited', () => {
    // Clients are in: else there is always room.
    const { scheduler, op } = setUp('balanced')
    op(() => {})
    const [ending, other] = [{ round: 0 }, { round: 0 }]
    const letIn = { ending: 0, other: 0 }
    const fill = (owner: { readonly round: number }, name: 'ending' | 'other'): void =>
      scheduler.submit(owner, 'recovery', () => {
        letIn[name]++
      })
    for (let i = 0; i < 4 * (mebibyte / costPerOp); i++) fill(ending, 'ending')
    const full = letIn.ending
    expect(scheduler.summary().classes.recovery.waiting).toBeGreaterThan(0)
    fill(other, 'other')
    expect(letIn.other).toBe(0)
    ending.round++
    scheduler.giveBack(ending)
    // No time has passed. What waited of the old interval is answered, and is in nobody's way; another one fits as often.
    expect(letIn.ending).toBe(4 * (mebibyte / costPerOp))
    expect(letIn.other).toBe(1)
    for (let i = 0; i < full; i++) fill(other, 'other')
    expect(letIn.other).toBe(full)
    expect(scheduler.summary().classes.recovery.waiting).toBe(1)
  })

  it('keeps the order of clients, whether they waited or not', async () => {
    const { env, scheduler, recover, advance } = setUp('high_recovery_ops')
    for (let i = 0; i < 8; i++) recover()
    const order: number[] = []
    for (let i = 0; i < 300; i++) {
      env.timers.after(i * 0.3, () => {
        if (scheduler.admitsClient(opBytes)) order.push(i)
        else scheduler.hold(opBytes, () => order.push(i))
      })
    }
    await advance(5_000)
    expect(order).toEqual(Array.from({ length: 300 }, (_, i) => i))
  })

  it('goes by another profile at once, and runs nothing after its end', async () => {
    const { scheduler, changing, done, recover, work, advance } = setUp('high_client_ops')
    work(64)
    for (let i = 0; i < 32; i++) recover()
    await advance(500)
    const atFirst = done.recovery
    changing.osd_mclock_profile = 'high_recovery_ops'
    scheduler.onSettings()
    await advance(500)
    expect(done.recovery - atFirst).toBeGreaterThan(atFirst * 1.3)
    scheduler.stop()
    await advance(1_000)
    const atEnd = done.recovery
    await advance(1_000)
    expect(done.recovery).toBe(atEnd)
  })

  it('shows who waits, and what others were given meanwhile', async () => {
    const { scheduler, recover, work, advance } = setUp('balanced')
    work(256)
    for (let i = 0; i < 32; i++) recover()
    await advance(500)
    const { profile, classes } = scheduler.summary()
    expect(profile).toBe('balanced')
    expect(classes.client.waiting).toBeGreaterThan(0)
    expect(classes.recovery.waiting).toBeGreaterThan(0)
    expect(classes.recovery.passedBytes).toBeLessThan(2 * mebibyte)
    expect(classes.recovery.waitUs.count).toBe(classes.recovery.admitted)
  })
})
