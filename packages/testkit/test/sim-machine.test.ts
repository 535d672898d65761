/** What crashes leave, and that one seed always gives the same world. */
import { address, type Env, Prng, utf8Decode, utf8Encode } from '@shoal/base'
import { makeSimEnv, SimAbort, type SimMachine, SimWorld } from '@shoal/testkit'
import { describe, expect, test } from 'vitest'

async function synced(env: Env, path: string, content: Uint8Array): Promise<void> {
  const file = await env.disk.open(path, 'create')
  await file.write([content], 0)
  await file.datasync()
  await env.disk.syncDirectory('/')
  await file.close()
}

async function attempt<T>(machine: SimMachine, work: Promise<T>): Promise<T | 'died'> {
  return Promise.race([work, machine.dead.then(() => 'died' as const)])
}

describe('power cuts', () => {
  test('what was synced stays; a write after it is kept, lost or torn at sectors', async () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 40; seed++) {
      const { machine, env } = makeSimEnv({ seed })
      await synced(env, '/f', new Uint8Array(2048).fill(1))
      const file = await env.disk.open('/f', 'read-write')
      await file.write([new Uint8Array(1024).fill(2)], 512)
      machine.powerCut()
      const content = await machine.start().disk.readFile('/f')
      expect(content.length).toBe(2048)
      let shape = ''
      for (let sector = 0; sector < 4; sector++) {
        const bytes = new Set(content.subarray(sector * 512, sector * 512 + 512))
        expect(bytes.size).toBe(1)
        shape += [...bytes].join('')
      }
      seen.add(shape)
    }
    expect([...seen].sort()).toEqual(['1111', '1121', '1211', '1221'])
  })

  test('a name that was not synced may be lost; one that was is not', async () => {
    const kept = new Set<boolean>()
    for (let seed = 0; seed < 20; seed++) {
      const { machine, env } = makeSimEnv({ seed })
      await synced(env, '/safe', utf8Encode('a'))
      const file = await env.disk.open('/loose', 'create')
      await file.datasync()
      machine.powerCut()
      const after = machine.start()
      expect(await after.disk.exists('/safe')).toBe(true)
      kept.add(await after.disk.exists('/loose'))
    }
    expect(kept.size).toBe(2)
  })

  test('a rename between directories happens in both or in neither', async () => {
    for (let seed = 0; seed < 30; seed++) {
      const { machine, env } = makeSimEnv({ seed })
      await env.disk.makeDirectory('/a')
      await env.disk.makeDirectory('/b')
      await env.disk.syncDirectory('/')
      await env.disk.writeFileAtomic('/a/f', utf8Encode('x'))
      await env.disk.rename('/a/f', '/b/f')
      machine.powerCut()
      const { disk } = machine.start()
      expect([await disk.exists('/a/f'), await disk.exists('/b/f')].filter(Boolean)).toEqual([true])
    }
  })

  test('an atomic replacement is atomic at every step', async () => {
    const outcomes = new Set<string>()
    const replace = async (seed: number, step: number): Promise<boolean> => {
      const { machine, env } = makeSimEnv({ seed })
      await env.disk.writeFileAtomic('/config', utf8Encode('old'))
      machine.cutPowerAtStep = machine.steps + step
      const result = await attempt(
        machine,
        env.disk.writeFileAtomic('/config', utf8Encode('new')).then(() => 'done'),
      )
      if (machine.isRunning) machine.powerCut()
      outcomes.add(`${result}: ${utf8Decode(await machine.start().disk.readFile('/config'))}`)
      return result === 'done'
    }
    for (let seed = 0; seed < 10; seed++) {
      let step = 1
      while (!(await replace(seed, step))) step++
      expect(step).toBe(6)
    }
    expect([...outcomes].sort()).toEqual(['died: new', 'died: old', 'done: new'])
  })

  test('key-value batches survive as a prefix that holds the last synced one', async () => {
    const lengths = new Set<number>()
    for (let seed = 0; seed < 30; seed++) {
      const { machine, env } = makeSimEnv({ seed })
      const store = await env.keyValue.open('/kv')
      for (let i = 0; i < 6; i++) {
        await store.batch([{ kind: 'put', key: new Uint8Array([i]), value: new Uint8Array([i]) }], { sync: i === 2 })
      }
      machine.powerCut()
      const rows = await (await machine.start().keyValue.open('/kv')).entries({})
      expect(rows.map(([key]) => key[0])).toEqual(rows.map((_, i) => i))
      lengths.add(rows.length)
    }
    expect(Math.min(...lengths)).toBe(3)
    expect(Math.max(...lengths)).toBe(6)
  })
})

test('a key-value store goes with its directory', async () => {
  const { machine, env } = makeSimEnv({ seed: 1 })
  const store = await env.keyValue.open('/osd/meta')
  await store.batch([{ kind: 'put', key: new Uint8Array([1]), value: new Uint8Array([2]) }], { sync: true })
  await store.close()
  expect(await env.disk.list('/osd')).toEqual(['meta'])
  machine.powerCut()
  const after = machine.start()
  const kept = await after.keyValue.open('/osd/meta')
  expect(await kept.entries({})).toHaveLength(1)
  await kept.close()
  await after.disk.remove('/osd')
  expect(await (await after.keyValue.open('/osd/meta')).entries({})).toEqual([])
})

describe('processes', () => {
  test('a killed one leaves what it wrote, and does nothing more', async () => {
    const { world, machine, env } = makeSimEnv({ seed: 1, ioDelayMs: { min: 1, max: 1 } })
    const file = await world.time.settle(env.disk.open('/f', 'create'))
    await world.time.settle(file.write([utf8Encode('kept')], 0))
    let ticked = false
    env.timers.after(5, () => {
      ticked = true
    })
    let finished = false
    const later = file.write([utf8Encode('KEPT')], 0).then(() => {
      finished = true
    })
    machine.kill()
    const after = machine.start()
    const content = utf8Decode(await world.time.settle(after.disk.readFile('/f')))
    expect(['kept', 'KEPT']).toContain(content)
    await world.time.advance(100)
    expect([ticked, finished]).toEqual([false, false])
    expect(later).toBeInstanceOf(Promise)
  })

  test('abort ends the life at once', async () => {
    const { machine, env } = makeSimEnv({ seed: 1 })
    expect(() => env.abort('datasync failed')).toThrow(SimAbort)
    expect(machine.isRunning).toBe(false)
    expect(machine.aborts).toEqual(['datasync failed'])
  })

  test('injected errors, flipped bits and a full disk reach the caller', async () => {
    const { machine, env } = makeSimEnv({ seed: 1 })
    await synced(env, '/f', new Uint8Array(5000).fill(4))
    machine.disk.flip('/f', 4097, 0x10)
    expect((await env.disk.readFile('/f'))[4097]).toBe(0x14)
    machine.fault = ({ kind }) => (kind === 'datasync' ? 'EIO' : undefined)
    const file = await env.disk.open('/f', 'read-write')
    await expect(file.datasync()).rejects.toMatchObject({ code: 'EIO' })
    machine.disk.capacityBytes = 16_384
    await expect(file.write([new Uint8Array(20_000).fill(1)], 0)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect((await env.disk.space('/')).freeBytes).toBe(8192)
  })
})

describe('network', () => {
  async function conversation(seed: number, shape: (world: SimWorld) => void): Promise<readonly string[]> {
    const world = new SimWorld({ seed })
    const [a, b] = [world.machine('10.0.0.1').start(), world.machine('10.0.0.2').start()]
    const events: string[] = []
    const note = (what: string): void => {
      events.push(`${world.time.nowMs.toFixed(3)} ${what}`)
    }
    const random = new Prng(seed)
    const listener = await b.network.listen(address('10.0.0.2:1'), (stream) =>
      stream.attach({
        onOpen: () => note('b open'),
        onData: (chunk) => note(`b got ${chunk.length}`),
        onDrain: () => undefined,
        onClose: (error) => note(`b closed ${error?.message ?? ''}`),
      }),
    )
    const stream = a.network.connect(listener.address)
    stream.attach({
      onOpen: () => note('a open'),
      onData: () => undefined,
      onDrain: () => note('a drain'),
      onClose: (error) => note(`a closed ${error?.message ?? ''}`),
    })
    shape(world)
    for (let i = 0; i < 20; i++) {
      stream.write([random.bytes(random.below(100_000))])
      await world.time.advance(1)
    }
    stream.end()
    await world.time.runUntilIdle()
    return events
  }

  test('one seed, one history', async () => {
    const shape = (world: SimWorld): void => {
      world.network.faults.resetProbability = 0.02
      world.network.faults.chunkBytesMax = 5_000
    }
    expect(await conversation(7, shape)).toEqual(await conversation(7, shape))
    expect(await conversation(8, shape)).not.toEqual(await conversation(7, shape))
  })

  test('nothing crosses a partition until it heals, and nothing is lost in it', async () => {
    const events = await conversation(3, (world) => {
      world.network.partition('10.0.0.1', '10.0.0.2', { oneWay: true })
      world.time.timers.after(10, () => world.network.heal())
    })
    const opened = events.find((event) => event.endsWith('b open'))
    expect(Number.parseFloat(opened as string)).toBeGreaterThan(10)
    const received = events.map((event) => Number(/b got (\d+)/.exec(event)?.[1] ?? 0)).reduce((sum, n) => sum + n, 0)
    const random = new Prng(3)
    let sent = 0
    for (let i = 0; i < 20; i++) sent += random.bytes(random.below(100_000)).length
    expect(received).toBe(sent)
  })

  test('a lost host is silent; its connections break when it is back', async () => {
    const world = new SimWorld({ seed: 5 })
    const machine = world.machine('10.0.0.2')
    const a = world.machine('10.0.0.1').start()
    const listener = await machine
      .start()
      .network.listen(address('10.0.0.2:1'), (stream) =>
        stream.attach({ onOpen() {}, onData() {}, onDrain() {}, onClose() {} }),
      )
    let closed: Error | undefined
    const stream = a.network.connect(listener.address)
    stream.attach({ onOpen() {}, onData() {}, onDrain() {}, onClose: (error) => (closed = error) })
    await world.time.advance(10)
    machine.powerCut()
    stream.write([new Uint8Array(100)])
    await world.time.advance(60_000)
    expect(closed).toBeUndefined()
    machine.start()
    await world.time.advance(10)
    expect(closed).toMatchObject({ code: 'ECONNRESET' })
    expect(world.network.openStreams).toBe(0)
  })
})
