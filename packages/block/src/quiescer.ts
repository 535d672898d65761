/** Holds the writes of everybody who has an image open, in whatever process, while its header changes. */
import type { ImageHeader } from './image-header.ts'

export interface Quiescer {
  /**
   * Resolves when no write is under way and none begins. False: some may not have heard, and go on writing by the header
   * that they know, for as long as its lease. A rejection leaves nobody held.
   */
  pause(header: ImageHeader): Promise<boolean>
  /** Everybody reads the header anew and goes on; called once after each `pause` that resolved, whatever it said. */
  resume(header: ImageHeader): Promise<void>
}

/** Nobody can be told: all of them learn of a change when they ask again. */
export const nobodyHears: Quiescer = {
  pause: async () => false,
  resume: async () => undefined,
}
