/**
 * A thread that writes many small pieces for the price of one message. A call to libuv's pool costs 25 us of processor
 * time and a turn of the event loop each; the write itself, into the page cache, 5 us (8 KiB, measured). It is a thread
 * and not a synchronous write because the kernel may hold a writer back while it flushes: heartbeats must not wait for that.
 */
import { Worker } from 'node:worker_threads'
import type { FileWrite } from '@shoal/base'

interface Done {
  readonly id: number
  readonly error?: { readonly code: string | undefined; readonly message: string }
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** It holds no data: what it writes lies in shared memory. */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16, stackSizeMb: 1 }

export class WriteThread {
  private readonly worker = new Worker(new URL('../thread/write-thread.mjs', import.meta.url), {
    resourceLimits,
    execArgv: [],
    env: {},
  })
  private readonly waiters = new Map<number, Waiter>()
  private nextId = 1
  private failure: Error | undefined

  constructor() {
    this.worker.on('message', (done: Done) => this.onDone(done))
    this.worker.on('error', (error) => this.onEnd(error))
    this.worker.on('exit', (code) => this.onEnd(new Error(`the writing thread ended with code ${code}`)))
    this.worker.unref()
  }

  /** All bytes must be in shared memory. Rejects with the system's error; some of the writes may then have happened. */
  write(fd: number, writes: readonly FileWrite[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) return reject(this.failure)
      const id = this.nextId++
      // The process lives as long as somebody waits.
      if (this.waiters.size === 0) this.worker.ref()
      this.waiters.set(id, { resolve, reject })
      this.worker.postMessage({ id, fd, writes })
    })
  }

  private onDone({ id, error }: Done): void {
    const waiter = this.waiters.get(id)
    this.waiters.delete(id)
    if (this.waiters.size === 0) this.worker.unref()
    if (error === undefined) waiter?.resolve()
    else waiter?.reject(Object.assign(new Error(error.message), { code: error.code }))
  }

  private onEnd(error: Error): void {
    this.failure ??= error
    for (const { reject } of this.waiters.values()) reject(this.failure)
    this.waiters.clear()
  }
}

let shared: WriteThread | undefined

/** One per process, started when it is first needed. */
export function writeThread(): WriteThread {
  shared ??= new WriteThread()
  return shared
}
