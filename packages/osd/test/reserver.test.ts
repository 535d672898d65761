import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Reserver } from '../src/reserver.ts'

describe('reserver', () => {
  it('grants by priority, first come first served among equals', () => {
    const reserver = new Reserver(1)
    const granted: string[] = []
    const ask = (key: string, priority: number) => reserver.request(key, priority, () => granted.push(key))
    ask('a', 1)
    ask('b', 1)
    ask('c', 5)
    ask('d', 5)
    expect(granted).toEqual(['a'])
    for (const key of ['a', 'c', 'd', 'b']) reserver.release(key)
    expect(granted).toEqual(['a', 'c', 'd', 'b'])
  })

  it('keeps its place in the queue when asked again', () => {
    const reserver = new Reserver(0)
    const granted: string[] = []
    for (const key of ['a', 'b', 'a']) reserver.request(key, 1, () => granted.push(key))
    reserver.setSlots(1)
    expect(granted).toEqual(['a'])
    expect(reserver.summary()).toEqual({ slots: 1, granted: ['a'], waiting: ['b'] })
  })

  it('never has more grants out than slots, and leaves no slot idle while somebody waits', () => {
    const action = fc.tuple(fc.constantFrom('request', 'release'), fc.integer({ min: 0, max: 9 }), fc.nat(3))
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 60 }), (slots, actions) => {
        const reserver = new Reserver(slots)
        const held = new Set<string>()
        for (const [kind, id, priority] of actions) {
          const key = String(id)
          if (kind === 'request') reserver.request(key, priority, () => held.add(key))
          else {
            held.delete(key)
            reserver.release(key)
          }
          const { granted, waiting } = reserver.summary()
          expect(new Set(granted)).toEqual(held)
          expect(granted.length).toBeLessThanOrEqual(slots)
          if (waiting.length > 0) expect(granted.length).toBe(slots)
        }
      }),
    )
  })
})
