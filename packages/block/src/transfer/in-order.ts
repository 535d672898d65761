/**
 * Runs `task` on each item, at most `widthMax` at a time, and gives the results in the order of the items. After a failure
 * nothing more begins, and it is thrown once everything that had begun is over.
 */
export async function* inOrder<I, O>(
  items: AsyncIterable<I> | Iterable<I>,
  widthMax: number,
  task: (item: I) => Promise<O>,
): AsyncGenerator<O, void, void> {
  const begun: Promise<O>[] = []
  try {
    for await (const item of items) {
      if (begun.length === widthMax) yield await (begun.shift() as Promise<O>)
      const result = task(item)
      // A failure is met when its turn comes.
      result.catch(() => undefined)
      begun.push(result)
    }
    while (begun.length > 0) yield await (begun.shift() as Promise<O>)
  } finally {
    await Promise.allSettled(begun)
  }
}
