import type { Env } from '@shoal/base'
import type { Extent } from '../transfer/export-image.ts'

/** Never ahead of the rate by more than this, however long nothing came. */
const burstMs = 1_000

/** The same extents, their data no faster than `bytesPerSecond`; undefined: as they come. */
export async function* paced(
  { clock, timers }: Pick<Env, 'clock' | 'timers'>,
  extents: AsyncIterable<Extent>,
  bytesPerSecond: number | undefined,
): AsyncGenerator<Extent, void, void> {
  let dueMs = clock.monotonicMs()
  for await (const extent of extents) {
    if (bytesPerSecond !== undefined && extent.kind === 'data') {
      const nowMs = clock.monotonicMs()
      dueMs = Math.max(dueMs, nowMs - burstMs) + (extent.data.length / bytesPerSecond) * 1000
      const waitMs = dueMs - nowMs
      if (waitMs > 0) await new Promise<void>((resolve) => timers.after(waitMs, resolve))
    }
    yield extent
  }
}
