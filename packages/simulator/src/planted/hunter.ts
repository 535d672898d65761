/** A child process that runs seeds of one hunt, with some edits of the program, one seed after the other. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { must } from '@shoal/base'
import type { HuntResult } from './hunt.ts'
import { hunts } from './hunts.ts'
import type { Edit } from './planted-bug.ts'

/** A seed that takes longer in real time hangs. */
const seedMsMax = 15 * 60_000

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

interface Running {
  readonly child: ChildProcess
  readonly lines: AsyncIterator<string>
  errors: string
}

export class Hunter {
  private readonly hunt: string
  private readonly edits: readonly Edit[]
  private running: Running | undefined

  /** `edits`: what is planted; the hunt's own tuning comes on top. */
  constructor(hunt: string, edits: readonly Edit[]) {
    this.hunt = hunt
    this.edits = [...(hunts[hunt]?.tuning ?? []), ...edits]
  }

  /** A process that ends or hangs is a result, too; the next seed gets a new one. */
  async run(seed: number): Promise<HuntResult> {
    this.running ??= this.start()
    const { child, lines } = this.running
    const hang = setTimeout(() => child.kill('SIGKILL'), seedMsMax)
    child.stdin?.write(`${seed}\n`)
    const { value, done } = await lines.next()
    clearTimeout(hang)
    if (done !== true) return JSON.parse(value) as HuntResult
    const message = this.running.errors
    this.running = undefined
    return { seed, verdict: 'crash', checker: 'process', message, virtualMs: 0, cpuMs: 0, operations: 0, hash: '' }
  }

  end(): void {
    this.running?.child.stdin?.end()
    this.running?.child.kill()
    this.running = undefined
  }

  private start(): Running {
    const child = spawn(process.execPath, ['--import', path('./register.js'), path('./hunt.js'), this.hunt], {
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, SHOAL_SIM_EDITS: JSON.stringify(this.edits) },
    })
    child.stdin?.on('error', () => undefined)
    const lines = createInterface({ input: must(child.stdout, 'a pipe') })[Symbol.asyncIterator]()
    const running: Running = { child, lines, errors: '' }
    child.stderr?.on('data', (data: Buffer) => {
      running.errors = `${running.errors}${data.toString()}`.slice(-4_000)
    })
    return running
  }
}
