import { SimTime } from '@shoal/testkit'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

test('events run by time, then in the order in which they were scheduled', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 }), async (delays) => {
      const time = new SimTime()
      const ran: number[] = []
      delays.forEach((delayMs, i) => time.timers.after(delayMs, () => ran.push(i)))
      await time.runUntilIdle()
      const expected = delays.map((_, i) => i).sort((a, b) => (delays[a] as number) - (delays[b] as number) || a - b)
      expect(ran).toEqual(expected)
      expect(time.nowMs).toBe(Math.max(0, ...delays))
    }),
  )
})

test('promise reactions run before the next event, however long the chain', async () => {
  const time = new SimTime()
  const ran: string[] = []
  time.timers.after(5, () => {
    void (async () => {
      for (let i = 0; i < 100; i++) await Promise.resolve()
      ran.push('chain')
    })()
  })
  time.timers.after(5, () => ran.push('next'))
  await time.advance(5)
  expect(ran).toEqual(['chain', 'next'])
})

test('a cancelled timer and an ended scope stay silent, and time does not wait for them', async () => {
  const time = new SimTime()
  const scope = time.scope(1_000)
  const ran: string[] = []
  time.timers.after(50, () => ran.push('cancelled')).cancel()
  scope.timers.after(70, () => ran.push('scoped'))
  time.timers.after(10, () => scope.end())
  await time.runUntilIdle()
  expect(ran).toEqual([])
  expect(time.nowMs).toBe(10)
  expect(scope.clock.monotonicMs()).toBe(1_010)
})

test('a wait that cannot end says why', async () => {
  const time = new SimTime()
  await expect(time.settle(new Promise(() => undefined))).rejects.toThrow('nothing is left to happen')
  const tick = (): void => {
    time.timers.after(10, tick)
  }
  tick()
  await expect(time.until(() => false, 100)).rejects.toThrow('not within 100 ms')
  await expect(time.runUntilIdle(100)).rejects.toThrow('not idle')
  await expect(time.settle(Promise.reject(new Error('own')))).rejects.toThrow('own')
})

test('soon comes after what is queued for this instant', async () => {
  const time = new SimTime()
  const ran: string[] = []
  time.timers.after(0, () => {
    ran.push('first')
    time.timers.soon(() => ran.push('soon'))
  })
  time.timers.after(0, () => ran.push('second'))
  await time.advance(0)
  expect(ran).toEqual(['first', 'second', 'soon'])
})
