// The other end of `src/write-thread.ts`: writes batches from shared memory, one after the other, and says which is done.
// Plain JavaScript, so that it runs beside the sources and beside the compiled package alike.
import { writevSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'

/** A short write is rare (a signal, a full disk) and continued; the next attempt tells the error. */
function writeAll(fd, chunks, offset) {
  let rest = chunks
  let at = offset
  for (;;) {
    let written = writevSync(fd, rest, at)
    at += written
    let next = 0
    while (next < rest.length && written >= rest[next].length) written -= rest[next++].length
    if (next === rest.length) return
    rest = [rest[next].subarray(written), ...rest.slice(next + 1)]
  }
}

parentPort?.on('message', ({ id, fd, writes }) => {
  try {
    for (const { chunks, offset } of writes) writeAll(fd, chunks, offset)
    parentPort?.postMessage({ id })
  } catch (error) {
    parentPort?.postMessage({ id, error: { code: error?.code, message: String(error?.message ?? error) } })
  }
})
