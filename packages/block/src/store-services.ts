/** What the parts of an image store share. */
import type { Env } from '@shoal/base'
import type { ImageDirectory } from './image-directory.ts'
import type { StoredHeader } from './image-header.ts'
import type { ObjectIo } from './object-io.ts'
import type { Quiescer } from './quiescer.ts'

export interface StoreServices {
  readonly env: Pick<Env, 'clock' | 'random' | 'timers'>
  readonly io: ObjectIo
  readonly directory: ImageDirectory
  readonly quiescer: Quiescer
  /** Long enough for everybody who has an image open to ask for its header again. */
  readonly waitForLease: () => Promise<void>
  /**
   * Completes what was interrupted of an image that is to be used. ENOENT when it is on its way out, EBUSY while it is rolled
   * back.
   */
  readonly settle: (found: StoredHeader) => Promise<StoredHeader>
}

export type ProgressListener = (done: number, total: number) => void
export const noProgress: ProgressListener = () => undefined
