import { createServer } from 'node:net'

/** The preferred port if it is free on this host, otherwise one that the system picks. */
export async function freePort(host: string, preferred: number): Promise<number> {
  return (await tryPort(host, preferred)) ?? (await tryPort(host, 0)) ?? preferred
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
