import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { address, type ByteStream, type Env, utf8Decode, utf8Encode } from '@shoal/base'
import { createRealEnv } from '@shoal/runtime'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const env: Env = createRealEnv({ name: 'test', logLevel: 'error' })
let directory = ''

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'shoal-runtime-'))
})
afterEach(async () => {
  await rm(directory, { recursive: true })
})

describe('disk', () => {
  test('writes of many chunks come back in order, at their offset', async () => {
    const file = await env.disk.open(join(directory, 'f'), 'create')
    const chunks = Array.from({ length: 3000 }, (_, i) => utf8Encode(`${i},`))
    await file.write(chunks, 7)
    await file.datasync()
    const whole = new Uint8Array(await file.sizeBytes())
    expect(await file.read(whole, 0)).toBe(whole.length)
    expect(utf8Decode(whole.subarray(7))).toBe(chunks.map(utf8Decode).join(''))
    expect(await file.read(new Uint8Array(10), whole.length - 3)).toBe(3)
    await file.close()
  })

  test('a missing file is ENOENT', async () => {
    await expect(env.disk.open(join(directory, 'nope'), 'read')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(env.disk.readFile(join(directory, 'nope'))).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await env.disk.exists(join(directory, 'nope'))).toBe(false)
  })

  test('an atomic replacement leaves no temporary file', async () => {
    const path = join(directory, 'config')
    await env.disk.writeFileAtomic(path, utf8Encode('a longer first version'))
    await env.disk.writeFileAtomic(path, utf8Encode('second'))
    expect(utf8Decode(await env.disk.readFile(path))).toBe('second')
    expect(await env.disk.list(directory)).toEqual(['config'])
  })

  test('a locked directory is EBUSY until it is released', async () => {
    const lock = await env.disk.lock(directory)
    await expect(env.disk.lock(directory)).rejects.toMatchObject({ code: 'EBUSY' })
    await lock.release()
    await (await env.disk.lock(directory)).release()
  })
})

describe('key-value store', () => {
  test('entries come in byte order within the range', async () => {
    const store = await env.keyValue.open(join(directory, 'kv'))
    const key = (n: number): Uint8Array => new Uint8Array([n])
    await store.batch(
      [200, 3, 100, 0].map((n) => ({ kind: 'put', key: key(n), value: utf8Encode(String(n)) })),
      { sync: true },
    )
    await store.batch([{ kind: 'delete', key: key(3) }], { sync: false })
    expect((await store.entries({ from: key(0), to: key(200) })).map(([, value]) => utf8Decode(value))).toEqual([
      '0',
      '100',
    ])
    expect((await store.entries({ reverse: true, limit: 1 })).map(([, value]) => utf8Decode(value))).toEqual(['200'])
    expect(await store.get(key(3))).toBeUndefined()
    await expect(env.keyValue.open(join(directory, 'kv'))).rejects.toMatchObject({ code: 'EBUSY' })
    await store.close()
  })
})

describe('network', () => {
  test('a stream echoes what is written, then closes in order', async () => {
    const listener = await env.network.listen(address('127.0.0.1:0'), (stream: ByteStream) => {
      stream.attach({
        onOpen: () => undefined,
        onData: (chunk) => stream.write([chunk]),
        onDrain: () => undefined,
        onClose: () => undefined,
      })
    })
    const received: Uint8Array[] = []
    await new Promise<void>((resolve, reject) => {
      const stream = env.network.connect(listener.address)
      stream.attach({
        onOpen: () => stream.write([utf8Encode('hello '), utf8Encode('world')]),
        onData: (chunk) => {
          received.push(chunk)
          if (Buffer.concat(received).length === 11) stream.end()
        },
        onDrain: () => undefined,
        onClose: (error) => (error === undefined ? resolve() : reject(error)),
      })
    })
    expect(Buffer.concat(received).toString()).toBe('hello world')
    await listener.close()
  })

  test('nobody listening is ECONNREFUSED; a taken port is EBUSY', async () => {
    const listener = await env.network.listen(address('127.0.0.1:0'), () => undefined)
    await expect(env.network.listen(listener.address, () => undefined)).rejects.toMatchObject({ code: 'EBUSY' })
    await listener.close()
    const error = await new Promise<Error | undefined>((resolve) => {
      env.network
        .connect(listener.address)
        .attach({ onOpen: () => undefined, onData: () => undefined, onDrain: () => undefined, onClose: resolve })
    })
    expect(error).toMatchObject({ code: 'ECONNREFUSED' })
  })
})
