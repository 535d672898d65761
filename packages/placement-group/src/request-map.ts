/** A map by request id, without a text made for each look-up. */
import type { RequestId } from '@shoal/wire'

export class RequestMap<T> {
  private readonly byClient = new Map<number, Map<number, T>>()

  get(request: RequestId): T | undefined {
    return this.byClient.get(request.client)?.get(request.tid)
  }

  set(request: RequestId, value: T): void {
    let byTid = this.byClient.get(request.client)
    if (byTid === undefined) {
      byTid = new Map()
      this.byClient.set(request.client, byTid)
    }
    byTid.set(request.tid, value)
  }

  delete(request: RequestId): void {
    const byTid = this.byClient.get(request.client)
    if (byTid === undefined) return
    byTid.delete(request.tid)
    if (byTid.size === 0) this.byClient.delete(request.client)
  }

  clear(): void {
    this.byClient.clear()
  }
}
