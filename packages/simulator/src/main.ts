/** `node main.js --seed N`: one simulation. The exit code tells a crash (10) from a broken promise (11) and a stall (12). */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { isClusterError } from '@shoal/base'
import { formatResult } from './report.ts'
import { exitCodes, runScenario } from './run-scenario.ts'
import { drawScenario } from './scenario/draw-scenario.ts'
import type { Scenario } from './scenario/scenario.ts'

const usage = `usage: sim --seed N [--scenario NAME] [--virtual-seconds S] [--file FILE] [--trace] [--json] [--print]
  --file FILE   runs the scenario in this file instead of drawing one
  --print       prints the scenario as JSON and runs nothing
`

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      scenario: { type: 'string' },
      'virtual-seconds': { type: 'string' },
      file: { type: 'string' },
      trace: { type: 'boolean' },
      json: { type: 'boolean' },
      print: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  const seed = Number(values.seed)
  if (values.help === true || (values.file === undefined && !(Number.isSafeInteger(seed) && seed >= 0))) {
    process.stderr.write(usage)
    return 2
  }
  const seconds = values['virtual-seconds']
  const scenario =
    values.file === undefined
      ? drawScenario(seed, {
          ...(values.scenario === undefined ? {} : { name: values.scenario }),
          ...(seconds === undefined ? {} : { virtualSeconds: Number(seconds) }),
        })
      : (JSON.parse(readFileSync(values.file, 'utf8')) as Scenario)
  if (values.print === true) {
    process.stdout.write(`${JSON.stringify(scenario, undefined, 2)}\n`)
    return 0
  }
  const startedMs = performance.now()
  const result = await runScenario(
    scenario,
    values.trace === true ? { print: (line) => process.stdout.write(`${line}\n`) } : {},
  )
  const realMs = performance.now() - startedMs
  const cpuMs = process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000
  process.stdout.write(
    values.json === true ? `${JSON.stringify({ ...result, realMs, cpuMs })}\n` : formatResult(result, realMs),
  )
  return exitCodes[result.verdict]
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${isClusterError(error) ? `${error.message}: ${error.hint ?? ''}` : String(error)}\n${usage}`)
  process.exitCode = 2
}
