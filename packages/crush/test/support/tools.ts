/** Ceph's own programs, where this machine has them. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A program of Ceph's that meets a bug of its own may hang. */
const timeoutMs = 10_000

/** Whether tests of that program must be left out here. In CI they never are: a missing program fails them. */
export function toolMissing(name: string): boolean {
  const missing = spawnSync(name, ['--version'], { timeout: timeoutMs }).error !== undefined
  if (missing && process.env['CI'] !== undefined) throw new Error(`${name} is not installed (Debian: ceph-base)`)
  if (missing) process.stderr.write(`${name} is not installed (Debian: ceph-base): its tests are left out\n`)
  return missing
}

export interface ToolResult {
  /** Undefined when the program crashed or hung. */
  readonly status: number | undefined
  readonly output: string
  readonly errors: string
}

/** A scratch directory with a crushtool (or osdmaptool) that works in it. */
export class Workbench {
  private readonly directory = mkdtempSync(join(tmpdir(), 'shoal-crush-'))

  path(name: string): string {
    return join(this.directory, name)
  }

  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  read(name: string): Uint8Array {
    return new Uint8Array(readFileSync(this.path(name)))
  }

  run(tool: 'crushtool' | 'osdmaptool', args: readonly string[]): ToolResult {
    const { status, stdout, stderr, error } = spawnSync(tool, args, {
      cwd: this.directory,
      encoding: 'utf8',
      timeout: timeoutMs,
      maxBuffer: 1 << 28,
    })
    const crashed = error !== undefined || status === null || status > 128
    return { status: crashed ? undefined : status, output: stdout, errors: stderr }
  }

  /** The binary map of a text, or undefined if crushtool refuses it. */
  compile(text: string): Uint8Array | undefined {
    this.write('map.txt', text)
    return this.run('crushtool', ['-c', 'map.txt', '-o', 'map.bin']).status === 0 ? this.read('map.bin') : undefined
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}
