/** Clients and recovery on one disk, by profile: who waits, who does not, and what each gets. */
import { makeSimEnv } from '@shoal/testkit'
import { describe, expect, it } from 'vitest'
import { OpScheduler } from '../src/op-scheduler.ts'

const mebibyte = 1024 * 1024
const settings = (profile: string) => ({
  osd_mclock_profile: profile,
  osd_mclock_max_sequential_bandwidth: 100 * mebibyte,
  osd_mclock_cost_per_op: 16 * 1024,
})
const pieceBytes = 256 * 1024
const opBytes = 8 * 1024

function setUp(profile: string) {
  const { world, env } = makeSimEnv({ seed: 1 })
  const changing = { ...settings(profile) }
  const scheduler = new OpScheduler(env, changing)
  const done = { client: 0, recovery: 0 }
  /** Always another piece, as soon as one was let in and moved. */
  const recover = (): void =>
    scheduler.submit('recovery', () => {
      scheduler.spent('recovery', pieceBytes)
      done.recovery += pieceBytes
      env.timers.after(0.1, recover)
    })
  /** `inFlight` clients, each with its next operation right after the last. */
  const work = (inFlight: number): void => {
    const next = (): void => {
      done.client += opBytes + 16 * 1024
      env.timers.after(0.1, submit)
    }
    const submit = (): void => {
      if (scheduler.admitsClient(opBytes)) next()
      else scheduler.hold(opBytes, next)
    }
    for (let i = 0; i < inFlight; i++) submit()
  }
  const advance = (ms: number): Promise<void> => world.time.advance(ms)
  return { env, scheduler, changing, done, recover, work, advance }
}

async function shareOfRecovery(profile: string): Promise<number> {
  const { done, recover, work, advance } = setUp(profile)
  work(64)
  for (let i = 0; i < 8; i++) recover()
  await advance(500)
  const before = { ...done }
  await advance(2_000)
  const recovered = done.recovery - before.recovery
  const all = recovered + done.client - before.client
  // The disk is used, and not taken for a quicker one.
  expect(all / 2 / mebibyte).toBeGreaterThan(85)
  expect(all / 2 / mebibyte).toBeLessThan(115)
  return recovered / all
}

describe('the scheduler', () => {
  it('divides a disk that both want as the profile says', async () => {
    const client = await shareOfRecovery('high_client_ops')
    const balanced = await shareOfRecovery('balanced')
    const recovery = await shareOfRecovery('high_recovery_ops')
    expect(client).toBeLessThan(0.45)
    expect(client).toBeGreaterThan(0.3)
    expect(balanced).toBeGreaterThan(0.42)
    expect(balanced).toBeLessThan(0.58)
    expect(recovery).toBeGreaterThan(0.6)
    expect(recovery).toBeLessThan(0.8)
  })

  it('gives recovery all that clients leave', async () => {
    const { done, recover, advance } = setUp('high_client_ops')
    for (let i = 0; i < 8; i++) recover()
    await advance(1_000)
    expect(done.recovery / mebibyte).toBeGreaterThan(80)
  })

  it('lets no client wait while nothing else wants the disk, however much they do', async () => {
    const { scheduler, advance } = setUp('high_recovery_ops')
    for (let i = 0; i < 10_000; i++) expect(scheduler.admitsClient(opBytes)).toBe(true)
    await advance(1)
    expect(scheduler.admitsClient(opBytes)).toBe(true)
  })

  it('lets recovery in at once after a time in which clients alone were busy', async () => {
    const { scheduler, advance } = setUp('high_client_ops')
    for (let ms = 0; ms < 200; ms++) {
      for (let i = 0; i < 50; i++) scheduler.admitsClient(opBytes)
      await advance(1)
    }
    let letIn = false
    scheduler.submit('recovery', () => {
      letIn = true
    })
    await advance(20)
    expect(letIn).toBe(true)
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
    for (let i = 0; i < 8; i++) recover()
    await advance(500)
    const atFirst = done.recovery
    changing.osd_mclock_profile = 'high_recovery_ops'
    scheduler.onSettings()
    await advance(500)
    expect(done.recovery - atFirst).toBeGreaterThan(atFirst * 1.3)
    scheduler.stop()
    const atEnd = { ...done }
    await advance(1_000)
    expect(done.recovery).toBe(atEnd.recovery)
  })
})
