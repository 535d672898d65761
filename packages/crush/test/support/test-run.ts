/** One run of `crushtool --test` and the same one by ours. */
import { Prng } from '@shoal/base'
import { type CrushMap, type CrushTestOptions, testCrushMap } from '@shoal/crush'

export interface TestRun {
  readonly numRep: number
  readonly maxX: number
  readonly poolId: number | undefined
  /** Pairs of device and weight. */
  readonly weights: readonly (readonly [number, number])[]
}

export function randomRun(seed: number, devices: number, maxX: number): TestRun {
  const random = new Prng(seed)
  const weights: (readonly [number, number])[] = []
  const count = random.below(2) * random.below(8)
  for (let i = 0; i < count; i++) weights.push([random.below(devices), [0, 0.5, 1, 0.3, 2, -1][random.below(6)] ?? 0])
  return { numRep: 1 + random.below(6), maxX, poolId: random.below(3) === 0 ? random.below(10) : undefined, weights }
}

export function toolArguments(run: TestRun): string[] {
  const args = ['--test', '--num-rep', String(run.numRep), '--min-x', '0', '--max-x', String(run.maxX)]
  args.push('--show-mappings', '--show-bad-mappings', '--show-statistics', '--show-utilization', '--show-choose-tries')
  if (run.poolId !== undefined) args.push('--pool-id', String(run.poolId))
  for (const [device, weight] of run.weights) args.push('--weight', String(device), String(weight))
  return args
}

export function ourOutput(map: CrushMap, run: TestRun): string {
  const options: CrushTestOptions = {
    numRep: run.numRep,
    minX: 0,
    maxX: run.maxX,
    weights: new Map(run.weights),
    showMappings: true,
    showBadMappings: true,
    showStatistics: true,
    showUtilization: true,
    showChooseTries: true,
    ...(run.poolId === undefined ? {} : { poolId: run.poolId }),
  }
  return printed(map, options)
}

export function printed(map: CrushMap, options: CrushTestOptions): string {
  const lines: string[] = []
  testCrushMap(map, options, (line, stream) => {
    if (stream === 'output') lines.push(`${line}\n`)
  })
  return lines.join('')
}
