import { Progress } from '../../output/progress.ts'

/** Runs long work with a bar. */
export async function withProgress<T>(
  label: string,
  work: (update: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  let bar: Progress | undefined
  try {
    return await work((done, total) => {
      bar ??= new Progress(label, total)
      bar.update(done)
    })
  } finally {
    bar?.end()
  }
}
