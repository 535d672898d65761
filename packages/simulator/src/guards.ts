/**
 * Inside a simulation nothing may reach for the real world: whoever does is named and stopped.
 *
 * The guards stand for the whole process once installed, but speak up only while the simulated time runs its events;
 * reports and progress, which are outside, use what they like.
 */
import childProcess from 'node:child_process'
import crypto from 'node:crypto'
import dgram from 'node:dgram'
import fs from 'node:fs'
import http from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'

type AnyFunction = (...args: never[]) => unknown

let inside = false
let installed = false

/** Runs a turn of simulated events with the guards up. */
export function guarded<T>(run: () => T): T {
  inside = true
  try {
    return run()
  } finally {
    inside = false
  }
}

/** The first frame of the stack outside of this file. */
function caller(): string {
  const frames = (new Error('who').stack ?? '').split('\n').slice(1)
  return frames.find((frame) => !/\/guards\.[jt]s/.test(frame))?.trim() ?? 'somebody'
}

function forbid(what: string): void {
  if (!inside) return
  const who = caller()
  throw new Error(`${what} inside a simulation, ${who}: take it from Env`)
}

function wrap(holder: object, name: string, label: string): void {
  const table = holder as Record<string, AnyFunction | undefined>
  const original = table[name]
  if (typeof original !== 'function') return
  const guard = function (this: unknown, ...args: never[]): unknown {
    forbid(label)
    return Reflect.apply(original, this, args)
  }
  // Keeps what hangs on it: `hrtime.bigint`, `exists[promisify.custom]`.
  for (const key of Reflect.ownKeys(original)) {
    const descriptor = Object.getOwnPropertyDescriptor(original, key)
    if (descriptor !== undefined && key !== 'prototype') Object.defineProperty(guard, key, descriptor)
  }
  try {
    table[name] = guard
  } catch {
    Object.defineProperty(table, name, { value: guard, configurable: true, writable: true })
  }
}

function guardDate(): void {
  const RealDate = Date
  class GuardedDate extends RealDate {
    constructor(...args: readonly unknown[]) {
      if (args.length === 0) forbid('new Date()')
      super(...(args as [number]))
    }
  }
  GuardedDate.now = () => {
    forbid('Date.now()')
    return RealDate.now()
  }
  globalThis.Date = GuardedDate as DateConstructor
}

function wrapAll(holder: object, label: string): void {
  for (const name of Object.keys(holder)) {
    // Classes stay as they are: somebody may extend them.
    if (/^[a-z]/.test(name)) wrap(holder, name, `${label}.${name}()`)
  }
}

/** Once for the process; idempotent. */
export function installGuards(): void {
  if (installed) return
  installed = true
  guardDate()
  wrap(performance, 'now', 'performance.now()')
  wrap(process.hrtime, 'bigint', 'process.hrtime.bigint()')
  wrap(process, 'hrtime', 'process.hrtime()')
  wrap(process, 'uptime', 'process.uptime()')
  wrap(Math, 'random', 'Math.random()')
  for (const name of ['setTimeout', 'setInterval', 'setImmediate']) wrap(globalThis, name, `${name}()`)
  for (const name of ['getRandomValues', 'randomUUID']) wrap(globalThis.crypto, name, `crypto.${name}()`)
  for (const name of Object.keys(crypto).filter((key) => key.startsWith('random')))
    wrap(crypto, name, `crypto.${name}()`)
  wrapAll(fs, 'fs')
  wrapAll(fs.promises, 'fs.promises')
  for (const name of ['connect', 'createConnection', 'createServer']) wrap(net, name, `net.${name}()`)
  for (const name of ['request', 'get', 'createServer']) wrap(http, name, `http.${name}()`)
  wrap(dgram, 'createSocket', 'dgram.createSocket()')
  for (const name of ['spawn', 'exec', 'execFile', 'fork']) wrap(childProcess, name, `child_process.${name}()`)
  syncBuiltinESMExports()
}
