/** Keys of stores: sealed for one OSD of one cluster, made once, asked for with patience. */
import { ClusterError, Prng } from '@shoal/base'
import { makeSimEnv } from '@shoal/testkit'
import { expect, test } from 'vitest'
import { fetchStoreKey, makeStoreKey, openStoreKey, type StoreKeySource, sealStoreKey } from '../src/store-key.ts'

const secret = new Uint8Array(32).fill(7)
const storeKey = new Uint8Array(32).fill(9)

test('a sealed key opens with the secret of its cluster, for its OSD, unchanged', () => {
  const sealed = sealStoreKey(new Prng(1), secret, 'u', storeKey)
  expect(openStoreKey(secret, 'u', sealed)).toEqual(storeKey)
  expect(sealed).not.toContain('0909')
  const changed = `${sealed.slice(0, -1)}${sealed.endsWith('0') ? '1' : '0'}`
  for (const [key, uuid, text] of [
    [new Uint8Array(32), 'u', sealed],
    [secret, 'v', sealed],
    [secret, 'u', changed],
    [secret, 'u', sealed.slice(2)],
    [secret, 'u', 'no hex'],
  ] as const) {
    expect(() => openStoreKey(key, uuid, text)).toThrow(/does not open/)
  }
})

/** Monitors with a config-key store that answer only now and then. */
function source(): { readonly source: StoreKeySource; readonly keys: Map<string, string>; asked: number } {
  const { env } = makeSimEnv({ seed: 3 })
  const keys = new Map<string, string>()
  const state = {
    keys,
    asked: 0,
    source: {
      env: {
        ...env,
        // Time is not what is tested: a pause is a turn.
        timers: {
          ...env.timers,
          after: (_delayMs: number, callback: () => void) => {
            setImmediate(callback)
            return { cancel: () => undefined }
          },
        },
      },
      secret,
      monitor: {
        command: async (command: { readonly prefix: string; readonly [argument: string]: unknown }) => {
          if (state.asked++ % 2 === 0) throw new ClusterError('ENOQUORUM', 'electing', { retry: true })
          const key = String(command['key'])
          if (command.prefix === 'config-key get') {
            if (!keys.has(key)) throw new ClusterError('ENOENT', 'none')
            return { status: '', data: { value: keys.get(key) } }
          }
          if (keys.has(key) && command['exclusive'] === true) throw new ClusterError('EEXIST', 'there is one')
          keys.set(key, String(command['val']))
          return { status: '', data: undefined }
        },
      },
    } as StoreKeySource,
  }
  return state
}

test('a key is made once, however often its making is repeated', async () => {
  const monitors = source()
  const made = await makeStoreKey(monitors.source, 'u')
  expect(await makeStoreKey(monitors.source, 'u')).toEqual(made)
  expect(await fetchStoreKey(monitors.source, 'u')).toEqual(made)
  expect([...monitors.keys.keys()]).toEqual(['dm-crypt/osd/u/luks'])
  expect(monitors.asked).toBeGreaterThan(6)
})

test('without a key at the monitors, or of the cluster, it says what to do', async () => {
  const monitors = source()
  await expect(fetchStoreKey(monitors.source, 'u')).rejects.toMatchObject({
    code: 'EACCES',
    hint: expect.stringContaining('osd key restore'),
  })
  const open = { ...monitors.source, secret: undefined }
  await expect(makeStoreKey(open, 'u')).rejects.toMatchObject({ code: 'EINVAL' })
  expect(monitors.keys.size).toBe(0)
})
