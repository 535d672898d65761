/** A progress bar on the terminal's error stream; silent where that is no terminal, so that logs and pipes stay clean. */
import { formatDuration } from './units.ts'

export class Progress {
  private readonly label: string
  private readonly total: number
  private readonly startedMs = performance.now()
  private drawnMs = 0
  private readonly visible = process.stderr.isTTY === true

  constructor(label: string, total: number) {
    this.label = label
    this.total = total
  }

  update(done: number, note = ''): void {
    const nowMs = performance.now()
    if (!this.visible || (nowMs - this.drawnMs < 100 && done < this.total)) return
    this.drawnMs = nowMs
    const fraction = this.total === 0 ? 1 : Math.min(1, done / this.total)
    const bar = '='.repeat(Math.round(fraction * 30)).padEnd(30)
    const elapsedMs = nowMs - this.startedMs
    const left = fraction > 0 && fraction < 1 ? `, ${formatDuration((elapsedMs / fraction) * (1 - fraction))} left` : ''
    process.stderr.write(`\r${this.label} [${bar}] ${Math.round(fraction * 100)} %${left} ${note}\u001B[K`)
  }

  end(): void {
    if (this.visible) process.stderr.write('\r\u001B[K')
  }
}
