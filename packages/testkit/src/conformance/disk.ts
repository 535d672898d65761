/** The contract of {@link Disk} and {@link FileHandle} as tests: register them for each implementation. */
import { concatBytes, Prng, utf8Decode, utf8Encode } from '@shoal/base'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ConformanceSubject, MakeSubject } from './subject.ts'

export function diskConformance(name: string, makeSubject: MakeSubject): void {
  describe(`disk: ${name}`, () => {
    let subject: ConformanceSubject
    beforeEach(async () => {
      subject = await makeSubject()
    })
    afterEach(() => subject.close())

    files(() => subject)
    names(() => subject)
    directories(() => subject)
  })
}

function files(subject: () => ConformanceSubject): void {
  test('many chunks come back in order, at their offset', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const file = await env.disk.open(`${directory}/f`, 'create')
      const chunks = Array.from({ length: 3000 }, (_, i) => utf8Encode(i % 7 === 0 ? '' : `${i},`))
      await file.write(chunks, 7)
      await file.datasync()
      const whole = new Uint8Array(await file.sizeBytes())
      expect(await file.read(whole, 0)).toBe(whole.length)
      expect(whole.subarray(0, 7)).toEqual(new Uint8Array(7))
      expect(utf8Decode(whole.subarray(7))).toBe(utf8Decode(concatBytes(chunks)))
      await file.close()
    }))

  test('a durable write is read like any other', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const file = await env.disk.open(`${directory}/f`, 'create')
      await file.write([new Uint8Array(20)], 0)
      await file.writeDurable([utf8Encode('dur'), utf8Encode('able')], 5)
      const whole = new Uint8Array(20)
      await file.read(whole, 0)
      expect(utf8Decode(whole.subarray(5, 12))).toBe('durable')
      await file.close()
    }))

  test('durable writes of any length, aligned or not, one at a time or several, arrive where they belong', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const file = await env.disk.open(`${directory}/f`, 'create')
      const expected = new Uint8Array(3 * 1024 * 1024)
      await file.write([expected], 0)
      const writes = [
        [0, [512, 4096, 512]],
        [8192, [100, 412, 1024]],
        [20_000, [3_000]],
        [65_536, [1_000_000, 48_576]],
        [1_200_128, [700_000, 700_000, 32]],
        [2_700_288, []],
      ] as const
      const write = async ([offset, lengths]: (typeof writes)[number], seed: number): Promise<void> => {
        const chunks = lengths.map((length, at) => new Uint8Array(length + 3).fill(seed * 16 + at).subarray(3))
        expected.set(concatBytes(chunks), offset)
        await file.writeDurable(chunks, offset)
      }
      for (const [at, one] of writes.entries()) await write(one, at + 1)
      await Promise.all(writes.map((one, at) => write(one, at + 8)))
      const whole = new Uint8Array(expected.length)
      expect(await file.read(whole, 0)).toBe(whole.length)
      expect(Buffer.compare(whole, expected)).toBe(0)
      await file.close()
    }))

  test.each([true, false])('many writes at once all arrive (shared memory: %s)', (shared) =>
    subject().run(async () => {
      const { env, directory } = subject()
      const file = await env.disk.open(`${directory}/f`, 'create')
      const memory = new Uint8Array(shared ? new SharedArrayBuffer(64_000) : new ArrayBuffer(64_000))
      for (let i = 0; i < memory.length; i++) memory[i] = i % 251
      const piece = (at: number): Uint8Array => memory.subarray(at, at + 100)
      const starts = Array.from({ length: 300 }, (_, i) => ((i * 7) % 300) * 200)
      await file.writeMany(starts.map((at) => ({ chunks: [piece(at), piece(at + 100)], offset: at })))
      await file.writeMany([])
      const whole = new Uint8Array(60_000)
      expect(await file.read(whole, 0)).toBe(60_000)
      expect(Buffer.compare(whole, memory.subarray(0, 60_000))).toBe(0)
      await file.close()
    }),
  )

  test('a read gives less only at the end of the file', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const file = await env.disk.open(`${directory}/f`, 'create')
      await file.write([new Uint8Array(10_000).fill(7)], 0)
      expect(await file.read(new Uint8Array(10), 9_997)).toBe(3)
      expect(await file.read(new Uint8Array(10), 10_000)).toBe(0)
      expect(await file.read(new Uint8Array(10), 20_000)).toBe(0)
      expect(await file.read(new Uint8Array(0), 0)).toBe(0)
      await file.close()
    }))

  test('holes and what truncation adds read as zeros', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const file = await env.disk.open(`${directory}/f`, 'create')
      await file.write([new Uint8Array(100).fill(1)], 9_000)
      await file.truncate(9_050)
      await file.truncate(9_200)
      const whole = new Uint8Array(9_200).fill(9)
      expect(await file.read(whole, 0)).toBe(9_200)
      expect(whole.findIndex((byte) => byte !== 0)).toBe(9_000)
      expect(whole.findLastIndex((byte) => byte !== 0)).toBe(9_049)
      await file.close()
    }))

  test('random writes read back like those of an array', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const random = new Prng(5)
      const file = await env.disk.open(`${directory}/f`, 'create')
      const model = new Uint8Array(40_000)
      let sizeBytes = 0
      for (let i = 0; i < 60; i++) {
        const offset = random.below(30_000)
        const bytes = random.bytes(random.below(10_000))
        await file.write([bytes.subarray(0, 100), bytes.subarray(100)], offset)
        model.set(bytes, offset)
        if (bytes.length > 0) sizeBytes = Math.max(sizeBytes, offset + bytes.length)
      }
      await file.close()
      const content = await env.disk.readFile(`${directory}/f`)
      expect(content.length).toBe(sizeBytes)
      expect(Buffer.compare(content, model.subarray(0, sizeBytes))).toBe(0)
    }))
}

function names(subject: () => ConformanceSubject): void {
  test('a missing file is ENOENT', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      for (const mode of ['read', 'read-write'] as const) {
        await expect(env.disk.open(`${directory}/nope`, mode)).rejects.toMatchObject({ code: 'ENOENT' })
      }
      await expect(env.disk.open(`${directory}/nope/f`, 'create')).rejects.toMatchObject({ code: 'ENOENT' })
      await expect(env.disk.readFile(`${directory}/nope`)).rejects.toMatchObject({ code: 'ENOENT' })
      await expect(env.disk.list(`${directory}/nope`)).rejects.toMatchObject({ code: 'ENOENT' })
      await expect(env.disk.rename(`${directory}/nope`, `${directory}/f`)).rejects.toMatchObject({ code: 'ENOENT' })
      expect(await env.disk.exists(`${directory}/nope`)).toBe(false)
    }))

  test('an atomic replacement leaves no temporary file', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      await env.disk.writeFileAtomic(`${directory}/config`, utf8Encode('a longer first version'))
      await env.disk.writeFileAtomic(`${directory}/config`, utf8Encode('second'))
      expect(utf8Decode(await env.disk.readFile(`${directory}/config`))).toBe('second')
      expect(await env.disk.list(directory)).toEqual(['config'])
    }))

  test('an open file keeps its content when its name is removed or taken', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      await env.disk.writeFileAtomic(`${directory}/a`, utf8Encode('old'))
      await env.disk.writeFileAtomic(`${directory}/b`, utf8Encode('new'))
      const old = await env.disk.open(`${directory}/a`, 'read')
      await env.disk.rename(`${directory}/b`, `${directory}/a`)
      const buffer = new Uint8Array(3)
      await old.read(buffer, 0)
      expect(utf8Decode(buffer)).toBe('old')
      expect(utf8Decode(await env.disk.readFile(`${directory}/a`))).toBe('new')
      expect(await env.disk.list(directory)).toEqual(['a'])
      await old.close()
    }))
}

function directories(subject: () => ConformanceSubject): void {
  test('directories are made with their parents, listed in order, removed whole', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      await env.disk.makeDirectory(`${directory}/x/y/z`)
      await env.disk.makeDirectory(`${directory}/x/y/z`)
      for (const name of ['b', 'a', 'c']) await env.disk.writeFileAtomic(`${directory}/x/y/${name}`, utf8Encode(name))
      expect(await env.disk.list(`${directory}/x/y`)).toEqual(['a', 'b', 'c', 'z'])
      await env.disk.syncDirectory(`${directory}/x`)
      await env.disk.remove(`${directory}/x`)
      await env.disk.remove(`${directory}/x`)
      expect(await env.disk.list(directory)).toEqual([])
    }))

  test('a locked directory is EBUSY until it is released', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const lock = await env.disk.lock(directory)
      await expect(env.disk.lock(directory)).rejects.toMatchObject({ code: 'EBUSY' })
      await lock.release()
      await (await env.disk.lock(directory)).release()
    }))

  test('the file system says how large it is', () =>
    subject().run(async () => {
      const { env, directory } = subject()
      const { totalBytes, freeBytes } = await env.disk.space(directory)
      expect(totalBytes).toBeGreaterThan(0)
      expect(freeBytes).toBeGreaterThan(0)
      expect(freeBytes).toBeLessThanOrEqual(totalBytes)
    }))
}
