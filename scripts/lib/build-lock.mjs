// One build at a time, and nobody loads modules while they are being rewritten: half old and half new do not go together.
//
// A builder takes `dist/build.lock`, then waits for the marks in `dist/loading/`. Whoever is about to run built code puts
// its mark there, then looks for the lock, and steps back if it finds one. So at least one of the two sees the other.
// A mark counts for ten seconds; by then everything is loaded. A lock whose process is gone means a build that was cut off.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

const lock = join(root, 'dist', 'build.lock')
const loading = join(root, 'dist', 'loading')
const loadMsMax = 10_000
const buildMsMax = 10 * 60_000
const pollMs = 50

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Undefined when nobody builds; otherwise who, and whether that process still runs. */
export function currentBuild() {
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    // An empty file is a lock being taken at this moment.
    return { pid, isAlive: pid === 0 ? Date.now() - statSync(lock).mtimeMs < 1_000 : isAlive(pid) }
  } catch {
    return undefined
  }
}

/** Puts this process's mark; false where nothing can be written, and so nothing is built either. */
export function markLoading() {
  try {
    mkdirSync(loading, { recursive: true })
    writeFileSync(join(loading, String(process.pid)), '')
    return true
  } catch {
    return false
  }
}

export function unmarkLoading() {
  rmSync(join(loading, String(process.pid)), { force: true })
}

/** Whether some other process loads built modules now. Marks of processes that were killed go away here. */
function somebodyLoads() {
  let names = []
  try {
    names = readdirSync(loading)
  } catch {
    return false
  }
  return names.some((name) => {
    const mark = join(loading, name)
    if (Number(name) === process.pid) return false
    if (!isAlive(Number(name))) rmSync(mark, { force: true })
    const { mtimeMs } = statSync(mark, { throwIfNoEntry: false }) ?? { mtimeMs: 0 }
    return Date.now() - mtimeMs < loadMsMax
  })
}

function sleep(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function take() {
  let isTold = false
  for (const deadlineMs = Date.now() + buildMsMax; ; sleep(pollMs)) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      return
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const other = currentBuild()
    if (other !== undefined && !other.isAlive) rmSync(lock, { force: true })
    else if (Date.now() > deadlineMs) {
      throw new Error(`process ${other?.pid} has been building for ten minutes; stop it, then try again`)
    } else if (other !== undefined && !isTold) {
      isTold = true
      process.stderr.write(`waiting for the build of process ${other.pid} ...\n`)
    }
  }
}

/** Runs `build` while nobody else builds or loads. Only a process that is killed leaves the lock behind. */
export function whileNobodyLoads(build) {
  const release = () => rmSync(lock, { force: true })
  mkdirSync(loading, { recursive: true })
  take()
  process.once('exit', release)
  while (somebodyLoads()) sleep(pollMs)
  build()
  release()
  process.off('exit', release)
}
