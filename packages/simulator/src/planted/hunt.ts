/** The child process of a hunt: runs seeds of one hunt as they come, one a line, on standard input. */
import { createInterface } from 'node:readline'
import { endWithParent } from '../end-with-parent.ts'
import { runScenario } from '../run-scenario.ts'
import { huntScenario } from './hunts.ts'

export interface HuntResult {
  readonly seed: number
  readonly verdict: string
  readonly checker: string
  readonly message: string
  readonly virtualMs: number
  readonly cpuMs: number
  readonly operations: number
  readonly hash: string
}

async function hunt(seed: number, name: string): Promise<HuntResult> {
  const before = process.cpuUsage()
  const result = await runScenario(huntScenario(seed, name))
  const { user, system } = process.cpuUsage(before)
  const crash = result.crashes[0]
  const violations = result.violations.filter(({ undecided }) => undecided !== true)
  // What is left in a queue is a consequence of something else, as a rule.
  const violation =
    violations.find(({ checker }) => checker !== 'caps') ?? (result.liveness === undefined ? violations[0] : undefined)
  const checker = violation?.checker ?? (crash === undefined ? 'liveness' : 'assertion')
  const crashed = crash === undefined ? '' : `${crash.node}: ${crash.reason}: ${crash.details.split('\n')[0]}`
  return {
    seed,
    verdict: result.verdict,
    checker: result.verdict === 'clean' ? '' : checker,
    message: (violation?.message ?? crash?.details.split('\n')[0] ?? result.liveness ?? crashed).slice(0, 2_000),
    virtualMs: result.virtualMs,
    cpuMs: (user + system) / 1_000,
    operations: result.operations,
    hash: result.hash,
  }
}

endWithParent()
const name = process.argv[2] ?? ''
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await hunt(Number(line), name))}\n`)
}
