/** Admin calls between daemons of one process, for tests and the simulator. Values pass through JSON as on the wire. */
import { type Address, ClusterError } from '@shoal/base'
import { type AdminHandlers, type AdminServer, type AdminTransport, answerAdmin } from './admin.ts'

export class MemoryAdminTransport implements AdminTransport {
  private readonly servers = new Map<string, AdminHandlers>()
  private nextPort = 40_000

  async serve(address: Address, handlers: AdminHandlers): Promise<AdminServer> {
    const bound = address.endsWith(':0') ? (`${address.slice(0, -1)}${this.nextPort++}` as Address) : address
    if (this.servers.has(bound)) throw new ClusterError('EBUSY', `${bound} is taken`)
    this.servers.set(bound, handlers)
    return {
      address: bound,
      close: async () => this.close(bound),
    }
  }

  /** Nobody listens on the address any more. */
  close(address: Address): void {
    this.servers.delete(address)
  }

  async call(address: Address, method: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const handlers = this.servers.get(address)
    if (handlers === undefined) throw new ClusterError('ECONNREFUSED', `nobody listens on ${address}`, { retry: true })
    return JSON.parse(JSON.stringify(await answerAdmin(handlers, method, JSON.parse(JSON.stringify(args)))))
  }
}
