/**
 * Random CRUSH maps as text: every algorithm, mixed levels, device classes, tunables, odd rules, choose_args, and the
 * looseness of real files (order, ids left out, comments, white space).
 */
import { Prng } from '@shoal/base'

export interface RandomMap {
  readonly text: string
  readonly devices: number
  readonly rules: number
}

/** What to leave out. Trees and device classes never come together: crushtool reads memory it never set for those. */
export interface RandomMapLimits {
  readonly classes?: boolean
  readonly devicesMax?: number
  readonly chooseArgs?: boolean
  readonly trees?: boolean
}

const typeNames = ['osd', 'host', 'rack', 'room', 'root'] as const

interface Placed {
  readonly name: string
  readonly id: number
}

export class MapWriter {
  private readonly random: Prng
  private readonly lines: string[] = []
  private nextId = -1
  private trees = true
  private readonly classNames = new Set<string>()
  private readonly sizes = new Map<number, number>()

  constructor(seed: number) {
    this.random = new Prng(seed)
  }

  private below(limit: number): number {
    return this.random.below(limit)
  }

  private chance(percent: number): boolean {
    return this.below(100) < percent
  }

  private pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T
  }

  private weight(): string {
    if (this.chance(8)) return '0'
    if (this.chance(30)) return this.pick(['1.000', '1', '2.5', '.25', '1e0', '0.0625', '3.'])
    return (this.below(1_000_000) / 100_000).toFixed(this.below(6))
  }

  make(limits: RandomMapLimits = {}): RandomMap {
    this.trees = limits.trees !== false
    const classes = limits.classes !== false && this.chance(50)
    const devices = 1 + this.below(limits.devicesMax ?? 40)
    this.tunables()
    this.lines.push('', '# devices')
    for (let id = 0; id < devices; id++) {
      const deviceClass = classes && (id === 0 || this.chance(85)) ? this.pick(['ssd', 'hdd', 'nvme']) : undefined
      if (deviceClass !== undefined) this.classNames.add(deviceClass)
      this.lines.push(`device ${id} osd.${id}${deviceClass === undefined ? '' : ` class ${deviceClass}`}`)
    }
    for (const [id, name] of typeNames.entries()) this.lines.push(`type ${id} ${name}`)
    const roots = this.hierarchy(devices, classes)
    const rules = 1 + this.below(4)
    for (let id = 0; id < rules; id++) this.rule(id, roots, classes)
    if (limits.chooseArgs !== false && this.chance(50)) this.chooseArgs()
    return { text: `${this.lines.join('\n')}\n`, devices, rules }
  }

  private tunables(): void {
    const values: Record<string, readonly number[]> = {
      choose_local_tries: [0, 0, 1, 2, 3],
      choose_local_fallback_tries: [0, 0, 5, 2],
      choose_total_tries: [50, 50, 19, 3, 100],
      chooseleaf_descend_once: [1, 0, 7],
      chooseleaf_vary_r: [1, 0, 2, 4],
      chooseleaf_stable: [1, 0],
      straw_calc_version: [1, 0],
      allowed_bucket_algs: [54, 22, 62],
    }
    if (this.chance(15)) return
    for (const [name, options] of Object.entries(values)) {
      if (this.chance(85)) this.lines.push(`tunable ${name}  ${this.pick(options)} # ${name}`)
    }
  }

  private algorithm(classes: boolean, size: number): string {
    if (this.chance(40)) return 'straw2'
    const algorithm = this.pick(['uniform', 'list', 'tree', 'straw', 'straw2'])
    if (algorithm === 'tree' && (classes || size > 64 || !this.trees)) return 'straw2'
    if (algorithm === 'uniform' && classes && this.chance(90)) return 'list'
    return algorithm
  }

  private hierarchy(devices: number, classes: boolean): Placed[] {
    let level: Placed[] = Array.from({ length: devices }, (_, id) => ({ name: `osd.${id}`, id }))
    const roots: Placed[] = []
    for (let type = 1; type < typeNames.length; type++) {
      if (type < typeNames.length - 1 && type > 1 && this.chance(35)) continue
      const next: Placed[] = []
      const fanout = type === typeNames.length - 1 ? level.length : 1 + this.below(7)
      for (let at = 0; at < level.length; at += fanout) {
        const items = level.slice(at, at + fanout)
        const bucket = this.bucket(typeNames[type] as string, items, classes)
        next.push(bucket)
        // Sometimes a rule takes something that is not a root.
        if (type === typeNames.length - 1 || this.chance(20)) roots.push(bucket)
      }
      level = next
    }
    if (this.chance(10)) roots.push(this.bucket('root', [], classes))
    return roots
  }

  private bucket(type: string, items: readonly Placed[], classes: boolean): Placed {
    const algorithm = this.algorithm(classes, items.length)
    const id = this.nextId--
    const placed = { name: `${type}${-id}`, id }
    this.sizes.set(id, algorithm === 'straw2' ? items.length : -1)
    this.lines.push(`${type} ${placed.name} {`)
    this.lines.push(`\tid ${id}`)
    this.lines.push(`\talg ${algorithm}`)
    const hash = this.pick(['\thash 0\t# rjenkins1', '\thash rjenkins1', '', '\thash 0'])
    if (hash !== '') this.lines.push(hash)
    const uniform = this.pick(['1.000', '2.5', '0.125'])
    const implicit = this.chance(10) && algorithm !== 'uniform'
    for (const item of items) {
      const weight = algorithm === 'uniform' ? uniform : this.weight()
      this.lines.push(`\titem ${item.name}${implicit ? '' : ` weight ${weight}`}`)
    }
    this.lines.push('}')
    return placed
  }

  private rule(id: number, roots: readonly Placed[], classes: boolean): void {
    const name = `rule-${id}`
    const type = this.pick(['replicated', 'erasure'])
    this.lines.push(`rule ${name} {`, `\t${this.pick(['id', 'ruleset'])} ${id}`, `\ttype ${type}`)
    this.lines.push(`\tmin_size ${1 + this.below(2)}`, `\tmax_size ${2 + this.below(4)}`)
    for (const what of [
      'set_choose_tries',
      'set_chooseleaf_tries',
      'set_choose_local_tries',
      'set_choose_local_fallback_tries',
      'set_chooseleaf_vary_r',
      'set_chooseleaf_stable',
    ]) {
      if (this.chance(15)) this.lines.push(`\tstep ${what} ${this.below(what.includes('_tries') ? 40 : 3)}`)
    }
    const emits = 1 + (this.chance(30) ? 1 + this.below(2) : 0)
    for (let i = 0; i < emits; i++) this.emit(roots, classes)
    this.lines.push('}')
  }

  private emit(roots: readonly Placed[], classes: boolean): void {
    const mark = classes && this.chance(40) ? ` class ${this.pick([...this.classNames])}` : ''
    this.lines.push(`\tstep take ${this.pick(roots).name}${mark}`)
    const mode = this.pick(['firstn', 'indep'])
    const count = (): number => this.pick([0, 0, 0, 1, 2, 3, -1])
    if (this.chance(25)) {
      this.lines.push(`\tstep choose ${mode} ${count()} type ${this.pick(['host', 'rack', 'room'])}`)
    }
    if (this.chance(60)) this.lines.push(`\tstep chooseleaf ${mode} ${count()} type ${this.pick(typeNames)}`)
    else this.lines.push(`\tstep choose ${mode} ${count()} type osd`)
    this.lines.push('\tstep emit')
  }

  private chooseArgs(): void {
    for (const pool of this.chance(70) ? [0] : [3, 18_446_744_073_709_551_615n]) {
      this.lines.push(`choose_args ${pool} {`)
      for (const [id, size] of this.sizes) {
        if (size < 0 || this.chance(40)) continue
        this.lines.push('  {', `    bucket_id ${id}`)
        const positions = this.pick([1, 1, 2, 3])
        if (this.chance(80)) {
          this.lines.push('    weight_set [')
          for (let position = 0; position < positions; position++) {
            const weights = Array.from({ length: size }, () => this.weight())
            this.lines.push(`      [ ${weights.join(' ')} ]`)
          }
          this.lines.push('    ]')
        }
        if (this.chance(30)) {
          const ids = Array.from({ length: size }, () => this.below(200) - 100)
          this.lines.push(`    ids [ ${ids.join(' ')} ]`)
        }
        this.lines.push('  }')
      }
      this.lines.push('}')
    }
  }
}
