/** Runs programs, and waits for what they bring about. */
import { execFile } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'

/** Longer than any step takes, a fill of the image on a slow disk included: what hangs is told. */
const runMsMax = 20 * 60_000
const outputBytesMax = 64 * 1024 * 1024

/** Resolves with what it printed; rejects with what it said when it failed. `env`: on top of ours. */
export function run(
  program: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: outputBytesMax, timeout: runMsMax, env: { ...process.env, ...env } }
    execFile(program, words, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${program} ${words.join(' ')}: ${stderr || stdout}`, { cause: error }))
    })
  })
}

/** Those that are missing, from Debian. */
export async function install(packages: readonly string[]): Promise<void> {
  await run(fileURLToPath(new URL('../../scripts/install-test-tools.sh', import.meta.url)), packages)
}

/** Asks every half second; rejects after `withinMs`. */
export async function until(what: string, withinMs: number, condition: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + withinMs; performance.now() < endMs; ) {
    if (await condition().catch(() => false)) return
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  throw new Error(`${what}: not within ${withinMs / 1000} s`)
}
