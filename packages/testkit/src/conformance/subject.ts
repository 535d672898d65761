/** What a conformance suite runs on. */
import type { Env } from '@shoal/base'

export interface ConformanceSubject {
  readonly env: Env
  /** An empty directory on the env's disk. */
  readonly directory: string
  /** Sees asynchronous work through: simulated worlds drive their time here. */
  run<T>(work: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

export type MakeSubject = () => Promise<ConformanceSubject>
