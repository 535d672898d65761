import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Reserver } from '../src/reserver.ts'

/** A reserver whose grants and preemptions are written down. */
function recording(slots: number) {
  const reserver = new Reserver(slots)
  const told: string[] = []
  const held = new Set<string>()
  const ask = (key: string, priority: number): void =>
    reserver.request(key, priority, {
      onGranted: () => {
        told.push(`+${key}`)
        held.add(key)
      },
      onPreempted: () => {
        told.push(`-${key}`)
        held.delete(key)
      },
    })
  return { reserver, told, held, ask }
}

describe('reserver', () => {
  it('grants by priority, first come first served among equals', () => {
    const { reserver, told, ask } = recording(1)
    ask('a', 5)
    ask('b', 1)
    ask('c', 5)
    ask('d', 5)
    expect(told).toEqual(['+a'])
    for (const key of ['a', 'c', 'd', 'b']) reserver.release(key)
    expect(told).toEqual(['+a', '+c', '+d', '+b'])
  })

  it('keeps its place in the queue when asked again', () => {
    const { reserver, told, ask } = recording(0)
    for (const key of ['a', 'b', 'a']) ask(key, 1)
    reserver.setSlots(1)
    expect(told).toEqual(['+a'])
    expect(reserver.summary()).toMatchObject({ slots: 1, granted: ['a'], waiting: ['b'], grants: 1, preemptions: 0 })
  })

  it('takes the slot of the lowest priority, and of the latest among equals, for a higher one', () => {
    const { reserver, told, ask } = recording(2)
    ask('old', 1)
    ask('new', 1)
    ask('same', 1)
    ask('high', 2)
    expect(told).toEqual(['+old', '+new', '+high', '-new'])
    expect(reserver.summary()).toMatchObject({ granted: ['old', 'high'], waiting: ['same'], preemptions: 1 })
    ask('higher', 3)
    ask('equal', 2)
    expect(told.slice(4)).toEqual(['+higher', '-old'])
  })

  it('lets a preempted one ask again from inside the call', () => {
    const reserver = new Reserver(1)
    const told: string[] = []
    const ask = (): void =>
      reserver.request('low', 1, {
        onGranted: () => told.push('+low'),
        onPreempted: () => {
          told.push('-low')
          ask()
        },
      })
    ask()
    reserver.request('high', 2, { onGranted: () => told.push('+high'), onPreempted: () => told.push('-high') })
    expect(told).toEqual(['+low', '+high', '-low'])
    reserver.release('high')
    expect(told.at(-1)).toBe('+low')
  })

  it('never has more grants out than slots, leaves none idle, and lets nobody wait for a lower priority', () => {
    const action = fc.tuple(
      fc.constantFrom('request', 'release', 'slots'),
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 1, max: 4 }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 80 }), (slots, actions) => {
        const { reserver, held, ask } = recording(slots)
        const priorities = new Map<string, number>()
        let slotsMax = slots
        for (const [kind, id, priority] of actions) {
          const key = String(id)
          if (kind === 'request') {
            if (!held.has(key)) priorities.set(key, priority)
            ask(key, priority)
          } else if (kind === 'release') {
            held.delete(key)
            reserver.release(key)
          } else {
            // Fewer slots take nothing away: they are not given out again.
            slotsMax = Math.max(priority, held.size)
            reserver.setSlots(slotsMax)
          }
          const { granted, waiting } = reserver.summary()
          expect(new Set(granted)).toEqual(held)
          expect(granted.length).toBeLessThanOrEqual(slotsMax)
          if (waiting.length > 0) expect(granted.length).toBe(slotsMax)
          expect(waiting.some((one) => granted.includes(one))).toBe(false)
          const lowestHeld = Math.min(...granted.map((one) => priorities.get(one) as number))
          for (const one of waiting) expect(priorities.get(one) as number).toBeLessThanOrEqual(lowestHeld)
        }
      }),
    )
  })

  it('is empty when everybody has given back, whatever came between', () => {
    const action = fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 5 }), fc.nat(3))
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const { reserver, ask } = recording(2)
        for (const [asks, id, priority] of actions) {
          if (asks) ask(String(id), priority)
          else reserver.release(String(id))
        }
        for (let id = 0; id <= 5; id++) reserver.release(String(id))
        expect(reserver.summary()).toMatchObject({ granted: [], waiting: [] })
      }),
    )
  })
})
