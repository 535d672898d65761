/**
 * The OSD map by epoch: every incremental since the oldest kept epoch, and a whole map every so often, as bytes.
 *
 * Invariant 1: `first` to `last` are kept without a gap, and the oldest kept epoch is a whole map.
 * Invariant 2: the map of an epoch is the nearest whole map at or below it with the incrementals after it applied; it
 *              is the same, byte for byte, on every monitor.
 */
import { assert, ClusterError, decode, type Epoch, encode, must } from '@shoal/base'
import {
  applyIncremental,
  type OsdMap,
  type OsdMapIncremental,
  osdMapCodec,
  osdMapIncrementalCodec,
} from '@shoal/cluster-map'

/** Distance of whole maps: what one lookup of a past epoch has to apply at most. */
const checkpointEvery = 64

export class OsdMapHistory {
  private current: OsdMap
  private firstEpoch: Epoch
  private readonly incrementals = new Map<Epoch, Uint8Array>()
  private readonly checkpoints = new Map<Epoch, Uint8Array>()

  constructor(first: OsdMap) {
    this.current = first
    this.firstEpoch = first.epoch
    this.checkpoints.set(first.epoch, encode(osdMapCodec, first))
  }

  get map(): OsdMap {
    return this.current
  }

  get first(): Epoch {
    return this.firstEpoch
  }

  get last(): Epoch {
    return this.current.epoch
  }

  append(incremental: OsdMapIncremental): void {
    assert(incremental.epoch === this.last + 1, `epoch ${incremental.epoch} follows ${this.last}`)
    this.current = applyIncremental(this.current, incremental)
    this.incrementals.set(incremental.epoch, encode(osdMapIncrementalCodec, incremental))
    if (incremental.epoch % checkpointEvery === 0) this.checkpointCurrent()
  }

  /** Up to `limit` incrementals after the epoch, oldest first; undefined when they are trimmed. */
  incrementalsAfter(epoch: Epoch, limit: number): readonly Uint8Array[] | undefined {
    if (epoch < this.firstEpoch || epoch > this.last) return undefined
    const found: Uint8Array[] = []
    for (let next = epoch + 1; next <= this.last && found.length < limit; next++) {
      found.push(must(this.incrementals.get(next as Epoch), 'Invariant 1'))
    }
    return found
  }

  /** Throws ENOENT for epochs that are trimmed or in the future. */
  at(epoch: Epoch): OsdMap {
    if (epoch === this.last) return this.current
    if (epoch < this.firstEpoch || epoch > this.last) {
      throw new ClusterError('ENOENT', `OSD map ${epoch} is not kept`, {
        hint: `epochs ${this.firstEpoch} to ${this.last} are`,
      })
    }
    let base = epoch
    while (!this.checkpoints.has(base)) base = (base - 1) as Epoch
    let map = decode(osdMapCodec, must(this.checkpoints.get(base), 'Invariant 1'))
    for (let next = base + 1; next <= epoch; next++) {
      const bytes = must(this.incrementals.get(next as Epoch), 'Invariant 1')
      map = applyIncremental(map, decode(osdMapIncrementalCodec, bytes))
    }
    return map
  }

  /** Forgets what is older than the epoch, which must be kept. */
  trim(first: Epoch): void {
    if (first <= this.firstEpoch) return
    assert(first <= this.last, 'the newest map stays')
    if (!this.checkpoints.has(first)) this.checkpoints.set(first, encode(osdMapCodec, this.at(first)))
    for (const epoch of [...this.checkpoints.keys()]) if (epoch < first) this.checkpoints.delete(epoch)
    for (let epoch = this.firstEpoch; epoch <= first; epoch++) this.incrementals.delete(epoch)
    this.firstEpoch = first
  }

  /** The oldest kept map and the incrementals after it: all there is to know. */
  snapshot(): { readonly first: Uint8Array; readonly incrementals: readonly Uint8Array[] } {
    return {
      first: must(this.checkpoints.get(this.firstEpoch), 'Invariant 1'),
      incrementals: must(this.incrementalsAfter(this.firstEpoch, Number.POSITIVE_INFINITY), 'Invariant 1'),
    }
  }

  static restore(first: Uint8Array, incrementals: readonly Uint8Array[]): OsdMapHistory {
    const history = new OsdMapHistory(decode(osdMapCodec, first))
    for (const bytes of incrementals) history.append(decode(osdMapIncrementalCodec, bytes))
    return history
  }

  private checkpointCurrent(): void {
    this.checkpoints.set(this.last, encode(osdMapCodec, this.current))
  }
}
