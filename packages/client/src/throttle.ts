/** Bounds what one client has under way, in operations and in bytes; whoever comes when it is full waits in line. */
export class Throttle {
  private readonly opsMax: number
  private readonly bytesMax: number
  private ops = 0
  private bytes = 0
  private readonly waiting: { readonly bytes: number; readonly admit: () => void }[] = []

  constructor(opsMax: number, bytesMax: number) {
    this.opsMax = opsMax
    this.bytesMax = bytesMax
  }

  /** Undefined when admitted at once. One operation larger than the bound passes when it is alone. */
  enter(bytes: number): Promise<void> | undefined {
    if (this.waiting.length === 0 && this.fits(bytes)) {
      this.take(bytes)
      return undefined
    }
    return new Promise((admit) => this.waiting.push({ bytes, admit }))
  }

  leave(bytes: number): void {
    this.ops--
    this.bytes -= bytes
    for (let next = this.waiting[0]; next !== undefined && this.fits(next.bytes); next = this.waiting[0]) {
      this.waiting.shift()
      this.take(next.bytes)
      next.admit()
    }
  }

  private fits(bytes: number): boolean {
    return this.ops === 0 || (this.ops < this.opsMax && this.bytes + bytes <= this.bytesMax)
  }

  private take(bytes: number): void {
    this.ops++
    this.bytes += bytes
  }
}
