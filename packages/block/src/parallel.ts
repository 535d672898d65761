/** Runs `task` for each index in [0, count), at most `widthMax` at a time. The first failure stops new starts and is thrown. */
export async function forEachIndex(
  count: number,
  widthMax: number,
  task: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  let failed = false
  const worker = async (): Promise<void> => {
    while (next < count && !failed) {
      try {
        await task(next++)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(widthMax, count) }, worker))
}
