import { type Env, isClusterError } from '@shoal/base'

/**
 * Runs `task` for each index in [0, count), at most `widthMax` at a time. The first failure stops new starts, and is
 * thrown once everything that had started is over: nothing goes on behind the caller's back.
 */
export async function forEachIndex(
  count: number,
  widthMax: number,
  task: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const failures: unknown[] = []
  const worker = async (): Promise<void> => {
    while (next < count && failures.length === 0) {
      try {
        await task(next++)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(widthMax, count) }, worker))
  // Of several, the one that leaves open what happened.
  if (failures.length > 0)
    throw failures.find((error) => isClusterError(error) && error.outcome === 'unknown') ?? failures[0]
}

export function sleep({ timers }: Pick<Env, 'timers'>, ms: number): Promise<void> {
  return new Promise((resolve) => timers.after(ms, resolve))
}
