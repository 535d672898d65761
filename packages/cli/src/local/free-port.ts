/**
 * Ports for a new cluster. They are looked for now and bound by daemons some seconds later: in between another cluster that
 * is being made on this machine must not find the same ones free, or the two would answer each other's clients.
 */
import { open, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A daemon binds its port well within this, or its cluster was given up. */
const reservedMs = 20_000

/** The preferred port if it is free on this host and nobody has just taken it, otherwise one that the system picks. */
export async function freePort(host: string, preferred: number): Promise<number> {
  const taken = preferred !== 0 && (await reserve(preferred)) ? await tryPort(host, preferred) : undefined
  return taken ?? (await tryPort(host, 0)) ?? preferred
}

function tryPort(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(address === null || typeof address === 'string' ? undefined : address.port))
    })
  })
}

/** False when somebody else has it. What cannot be asked counts as taken: the system picks another port then. */
async function reserve(port: number): Promise<boolean> {
  const file = join(tmpdir(), `shoal-port-${port}`)
  try {
    if (Date.now() - (await stat(file)).mtimeMs > reservedMs) await rm(file, { force: true })
  } catch {
    // There is none, or it is not ours to remove: making it tells.
  }
  try {
    await (await open(file, 'wx')).close()
    return true
  } catch {
    return false
  }
}
