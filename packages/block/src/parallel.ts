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
  if (failures.length > 0) throw failures[0]
}
