/** `node main.js --seed N`: one simulation. The exit code tells a crash (10) from a broken promise (11) and a stall (12). */
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { isClusterError } from '@shoal/base'
import { describeEvent } from './checkers/explain-violation.ts'
import { endWithParent } from './end-with-parent.ts'
import { describeScenario, formatResult, type MeasuredResult } from './report.ts'
import { exitCodes, type RunOptions, runScenario, type Verdict } from './run-scenario.ts'
import { type DrawOptions, drawScenario, scenarioNames } from './scenario/draw-scenario.ts'
import type { Scenario } from './scenario/scenario.ts'
import { shrinkScenario } from './scenario/shrink-scenario.ts'

const usage = `usage: sim --seed N [--scenario NAME] [--virtual-seconds S] [--file FILE] [--trace] [--json] [--print]
  --scenario    one of ${scenarioNames.join(', ')}
  --file FILE   runs the scenario in this file instead of drawing one
  --trace       prints every event
  --json        prints the result as one line of JSON
  --history O   prints what clients did to object O and what they saw
  --print       prints the scenario as JSON and runs nothing
  --shrink      when it fails, leaves out what the failure does not need, and writes what is left to a file
  --serve       runs seeds as they come, one a line, on standard input; results go out as lines of JSON
`

function drawOptions(name: string | undefined, seconds: string | undefined): DrawOptions {
  return {
    ...(name === undefined ? {} : { name }),
    ...(seconds === undefined ? {} : { virtualSeconds: Number(seconds) }),
  }
}

function historyPrinter(object: string): NonNullable<RunOptions['onHistory']> {
  return (_workload, history) => {
    for (const event of history.events) {
      if (event.object === object) process.stdout.write(`${describeEvent(event)}\n`)
    }
  }
}

async function measured(scenario: Scenario, options: RunOptions = {}): Promise<MeasuredResult> {
  const startedMs = performance.now()
  const before = process.cpuUsage()
  const result = await runScenario(scenario, options)
  const { user, system } = process.cpuUsage(before)
  return { ...result, realMs: performance.now() - startedMs, cpuMs: (user + system) / 1000 }
}

async function serve(options: DrawOptions): Promise<number> {
  endWithParent()
  for await (const line of createInterface({ input: process.stdin })) {
    const result = await measured(drawScenario(Number(line), options))
    process.stdout.write(`${JSON.stringify(result)}\n`)
  }
  return 0
}

async function shrink(scenario: Scenario, verdict: Verdict): Promise<void> {
  const small = await shrinkScenario(scenario, verdict, (line) => process.stderr.write(`${line}\n`))
  const file = `sim-${scenario.name}-${scenario.seed}.json`
  writeFileSync(file, `${JSON.stringify(small, undefined, 2)}\n`)
  process.stdout.write(
    `the smallest scenario that fails so:\n${describeScenario(small)}\n  replay: npm run sim -- --file ${file}\n`,
  )
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      scenario: { type: 'string' },
      'virtual-seconds': { type: 'string' },
      file: { type: 'string' },
      trace: { type: 'boolean' },
      json: { type: 'boolean' },
      history: { type: 'string' },
      print: { type: 'boolean' },
      serve: { type: 'boolean' },
      shrink: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  const draw = drawOptions(values.scenario, values['virtual-seconds'])
  if (values.serve === true) return serve(draw)
  const seed = Number(values.seed)
  if (values.help === true || (values.file === undefined && !(Number.isSafeInteger(seed) && seed >= 0))) {
    process.stderr.write(usage)
    return 2
  }
  const scenario =
    values.file === undefined ? drawScenario(seed, draw) : (JSON.parse(readFileSync(values.file, 'utf8')) as Scenario)
  if (values.print === true) {
    process.stdout.write(`${JSON.stringify(scenario, undefined, 2)}\n`)
    return 0
  }
  const result = await measured(scenario, {
    ...(values.trace === true ? { print: (line: string) => process.stdout.write(`${line}\n`) } : {}),
    ...(values.history === undefined ? {} : { onHistory: historyPrinter(values.history) }),
  })
  process.stdout.write(values.json === true ? `${JSON.stringify(result)}\n` : formatResult(result))
  if (values.shrink === true && result.verdict !== 'clean') await shrink(scenario, result.verdict)
  return exitCodes[result.verdict]
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${isClusterError(error) ? `${error.message}: ${error.hint ?? ''}` : String(error)}\n${usage}`)
  process.exitCode = 2
}
