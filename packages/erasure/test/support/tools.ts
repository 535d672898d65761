/** Ceph's ceph-erasure-code-tool, where this machine has it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const tool = 'ceph-erasure-code-tool'
const timeoutMs = 30_000

/** Whether its tests must be left out here. In CI they never are: a missing program fails them. */
export function toolMissing(): boolean {
  const missing = spawnSync(tool, [], { timeout: timeoutMs }).error !== undefined
  if (missing && process.env['CI'] !== undefined) throw new Error(`${tool} is not installed (Debian: ceph-osd)`)
  if (missing) process.stderr.write(`${tool} is not installed (Debian: ceph-osd): its tests are left out\n`)
  return missing
}

export interface Code {
  readonly k: number
  readonly m: number
}

const profile = ({ k, m }: Code): string => `plugin=jerasure,technique=reed_sol_van,k=${k},m=${m}`
const list = (indexes: Iterable<number>): string => [...indexes].join(',')

/** A scratch directory in which the tool works. */
export class Workbench {
  private readonly directory = mkdtempSync(join(tmpdir(), 'shoal-erasure-'))

  /** All k + m shards of an object, made by Ceph. */
  encode(code: Code, stripeUnitBytes: number, object: Uint8Array): readonly Uint8Array[] {
    writeFileSync(this.path('object'), object)
    const shards = Array.from({ length: code.k + code.m }, (_, shard) => shard)
    this.run('encode', profile(code), String(stripeUnitBytes), list(shards), 'object')
    return shards.map((shard) => this.read(`object.${shard}`))
  }

  /** What Ceph makes of some of the shards (the object padded to whole stripes). */
  decode(code: Code, stripeUnitBytes: number, shards: ReadonlyMap<number, Uint8Array>): Uint8Array {
    for (const name of readdirSync(this.directory)) rmSync(this.path(name))
    for (const [shard, bytes] of shards) writeFileSync(this.path(`object.${shard}`), bytes)
    this.run('decode', profile(code), String(stripeUnitBytes), list(shards.keys()), 'object')
    return this.read('object')
  }

  /** Whether Ceph takes a profile (words joined by commas). */
  accepts(words: string): boolean {
    return spawnSync(tool, ['validate-profile', words], { timeout: timeoutMs }).status === 0
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }

  private path(name: string): string {
    return join(this.directory, name)
  }

  private read(name: string): Uint8Array {
    return new Uint8Array(readFileSync(this.path(name)))
  }

  private run(...words: readonly string[]): void {
    const { status, stderr, error } = spawnSync(tool, words, {
      cwd: this.directory,
      encoding: 'utf8',
      timeout: timeoutMs,
    })
    if (error !== undefined || status !== 0) throw new Error(`${tool} ${words.join(' ')}: ${stderr}`, { cause: error })
  }
}
