/** The monitor map: who the monitors are and where they listen. Its epoch grows with each membership change. */
import type { Address } from '@shoal/base'

export interface MonitorInfo {
  /** The raft id: drawn at random for each store, never reused, so that a replaced monitor is a new voter. */
  readonly id: number
  /** `a`, `b`, `c`, ... */
  readonly name: string
  readonly address: Address
}

export interface MonitorMap {
  readonly fsid: string
  readonly epoch: number
  readonly monitors: readonly MonitorInfo[]
}
