/** What the checker of watches takes for broken. That sound clusters pass and broken ones do not: planted bugs. */
import { utf8Encode } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { type FinalReader, History, workloads } from '../../src/index.ts'

interface Watcher {
  readonly client: number
  readonly sinceMs: number | undefined
  readonly aliveMs: number
  readonly said?: string
}

interface Ended {
  readonly notifyId?: number
  readonly acks?: readonly { readonly client: number; readonly text: string }[]
  readonly timedOut?: readonly number[]
}

/** Each notify carries the number 7 and goes from 100 to 200. */
async function violations(watchers: readonly Watcher[], ...notifies: readonly Ended[]): Promise<readonly string[]> {
  const history = new History()
  for (const { client, sinceMs, aliveMs, said } of watchers) {
    const answers = new Map(said === undefined ? [] : [['7', said]])
    const record = { client, cookie: 1, sinceMs, aliveMs, answers }
    history.end(history.begin(client, 'watched-0.0', { kind: 'watch', record }, 0), { kind: 'ok', value: 1 }, 1)
  }
  for (const { notifyId = 1, acks = [], timedOut = [] } of notifies) {
    const value = {
      notifyId,
      acks: acks.map(({ client, text }) => ({ client, cookie: 1, data: utf8Encode(text) })),
      timedOut: timedOut.map((client) => ({ client, cookie: 1 })),
    }
    const event = history.begin(9, 'watched-0.0', { kind: 'notify', number: '7' }, 100)
    history.end(event, { kind: 'ok', value }, 200)
  }
  return ((await workloads['watches']?.().check(history, {} as FinalReader)) ?? []).map(({ message }) => message)
}

const always = { sinceMs: 50, aliveMs: 250 }

describe('notifies', () => {
  it('name who watched all the time, and need not name others', async () => {
    const others = [
      { client: 2, sinceMs: undefined, aliveMs: 0 },
      { client: 3, sinceMs: 150, aliveMs: 300 },
      { client: 4, sinceMs: 50, aliveMs: 150 },
    ]
    const told = { client: 1, ...always, said: 'a' }
    expect(await violations([told, ...others], { acks: [{ client: 1, text: 'a' }] })).toEqual([])
    expect(await violations([told, ...others], { timedOut: [1, 4] })).toEqual([])
  })

  it('are wrong when they leave one out', async () => {
    expect(await violations([{ client: 1, ...always }], {})).toEqual([expect.stringContaining('without client.1')])
  })

  it('are wrong when they quote who said nothing, or something else', async () => {
    const acks = [{ client: 1, text: 'a' }]
    for (const watchers of [[], [{ client: 1, ...always }], [{ client: 1, ...always, said: 'b' }]]) {
      expect(await violations(watchers, { acks })).toEqual([expect.stringContaining('did not say')])
    }
  })

  it('are wrong when they name one twice, or two have one id', async () => {
    const watcher = { client: 1, ...always, said: 'a' }
    const acks = [{ client: 1, text: 'a' }]
    expect(await violations([watcher], { acks, timedOut: [1] })).toEqual([expect.stringContaining('twice')])
    expect(await violations([watcher], { acks }, { acks })).toEqual([expect.stringContaining('the id of another one')])
  })
})
