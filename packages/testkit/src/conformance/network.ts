/** The contract of {@link Network} and {@link ByteStream} as tests: register them for each implementation. */
import {
  address,
  type ByteStream,
  type ByteStreamHandler,
  concatBytes,
  type Listener,
  Prng,
  utf8Encode,
} from '@shoal/base'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ConformanceSubject, MakeSubject } from './subject.ts'

const nothing: ByteStreamHandler = { onOpen() {}, onData() {}, onDrain() {}, onClose() {} }

/** What one end saw, as a list of words; data is gathered apart. */
class Recorder implements ByteStreamHandler {
  readonly events: string[] = []
  readonly chunks: Uint8Array[] = []
  readonly closed: Promise<Error | undefined>
  readonly opened: Promise<void>
  private onOpened = (): void => undefined
  private onClosed: (error: Error | undefined) => void = () => undefined

  constructor() {
    this.closed = new Promise((resolve) => {
      this.onClosed = resolve
    })
    this.opened = new Promise((resolve) => {
      this.onOpened = resolve
    })
  }

  onOpen(): void {
    this.events.push('open')
    this.onOpened()
  }

  onData(chunk: Uint8Array): void {
    this.chunks.push(chunk.slice())
  }

  onDrain(): void {
    this.events.push('drain')
  }

  onClose(error: Error | undefined): void {
    this.events.push('close')
    this.onClosed(error)
  }
}

export function networkConformance(name: string, makeSubject: MakeSubject): void {
  describe(`network: ${name}`, () => {
    let subject: ConformanceSubject
    const listeners: Listener[] = []
    beforeEach(async () => {
      subject = await makeSubject()
    })
    afterEach(async () => {
      await subject.run(() => Promise.all(listeners.splice(0).map((listener) => listener.close())))
      await subject.close()
    })

    const listen = async (onConnection: (stream: ByteStream) => void): Promise<Listener> => {
      const listener = await subject.env.network.listen(address('127.0.0.1:0'), onConnection)
      listeners.push(listener)
      return listener
    }
    const pause = (ms: number): Promise<void> => new Promise((resolve) => subject.env.timers.after(ms, resolve))

    test('both ends open, then close in order when one ends', () =>
      subject.run(async () => {
        const far = new Recorder()
        const near = new Recorder()
        const listener = await listen((stream) => {
          stream.attach(far)
          stream.write([utf8Encode('bye')])
          stream.end()
        })
        subject.env.network.connect(listener.address).attach(near)
        expect(await near.closed).toBeUndefined()
        expect(await far.closed).toBeUndefined()
        expect(new TextDecoder().decode(concatBytes(near.chunks))).toBe('bye')
        expect([near.events, far.events]).toEqual([
          ['open', 'close'],
          ['open', 'close'],
        ])
      }))

    test('bytes arrive whole and in order, whatever the chunks', () =>
      subject.run(async () => {
        const random = new Prng(4)
        const sent = Array.from({ length: 300 }, () => random.bytes(random.below(9_000)))
        const far = new Recorder()
        const listener = await listen((stream) => stream.attach(far))
        const stream = subject.env.network.connect(listener.address)
        stream.attach(nothing)
        for (let i = 0; i < sent.length; i += 3) {
          stream.write(sent.slice(i, i + 3))
          if (i % 30 === 0) await pause(1)
        }
        stream.end()
        await far.closed
        expect(Buffer.compare(concatBytes(far.chunks), concatBytes(sent))).toBe(0)
      }))

    test('a paused receiver holds its sender back; drain comes once it reads on', () =>
      subject.run(async () => {
        const far = new Recorder()
        const accepted: ByteStream[] = []
        const listener = await listen((stream) => {
          accepted.push(stream)
          stream.attach(far)
          stream.pause()
        })
        const near = new Recorder()
        const stream = subject.env.network.connect(listener.address)
        stream.attach(near)
        await near.opened
        const chunk = new Uint8Array(256 * 1024).fill(3)
        let written = 0
        let clear = true
        // Kernels buffer what they like; in the end the sender is told to wait.
        while (clear || stream.bufferedBytes === 0) {
          clear = stream.write([chunk])
          written += chunk.length
          await pause(1)
          if (written >= 64 * 1024 * 1024) break
        }
        expect(clear).toBe(false)
        expect(stream.bufferedBytes).toBeGreaterThan(0)
        while (accepted.length === 0) await pause(1)
        expect(far.chunks).toEqual([])
        accepted[0]?.resume()
        while (!near.events.includes('drain')) await pause(1)
        stream.end()
        await far.closed
        expect(concatBytes(far.chunks).length).toBe(written)
      }))

    test('nobody listening is ECONNREFUSED, once', () =>
      subject.run(async () => {
        const listener = await listen(() => undefined)
        await listener.close()
        const near = new Recorder()
        const stream = subject.env.network.connect(listener.address)
        stream.attach(near)
        stream.write([utf8Encode('lost')])
        expect(await near.closed).toMatchObject({ code: 'ECONNREFUSED' })
        stream.destroy()
        await pause(5)
        expect(near.events).toEqual(['close'])
      }))

    test('a taken port is EBUSY', () =>
      subject.run(async () => {
        const listener = await listen(() => undefined)
        await expect(subject.env.network.listen(listener.address, () => undefined)).rejects.toMatchObject({
          code: 'EBUSY',
        })
      }))

    test('a destroyed stream says nothing more but its close, and the peer sees the end', () =>
      subject.run(async () => {
        const far = new Recorder()
        const near = new Recorder()
        const listener = await listen((stream) => stream.attach(far))
        const stream = subject.env.network.connect(listener.address)
        stream.attach(near)
        await near.opened
        stream.destroy()
        expect(near.events).toEqual(['open'])
        expect(await near.closed).toBeUndefined()
        await far.closed
        expect(stream.write([utf8Encode('into the void')])).toBe(true)
        expect(near.events).toEqual(['open', 'close'])
      }))

    test('closing the listener ends what it accepted', () =>
      subject.run(async () => {
        const listener = await listen((stream) => stream.attach(nothing))
        const near = new Recorder()
        subject.env.network.connect(listener.address).attach(near)
        await near.opened
        await listener.close()
        await near.closed
      }))
  })
}
