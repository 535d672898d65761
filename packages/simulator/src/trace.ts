/**
 * A running hash over all that happens, so that two runs of a seed can be told to be the same, and the story in words for
 * who asks for it.
 */
const shared = new Float64Array(1)
const words = new Uint32Array(shared.buffer)

export class Trace {
  /** Told of each line, if somebody reads them. */
  print: ((line: string) => void) | undefined
  private a = 0x811c9dc5
  private b = 0x9e3779b9
  private readonly texts = new Map<string, number>()

  get hash(): string {
    return `${(this.a >>> 0).toString(16).padStart(8, '0')}${(this.b >>> 0).toString(16).padStart(8, '0')}`
  }

  number(value: number): void {
    shared[0] = value
    this.word(words[0] as number)
    this.word(words[1] as number)
  }

  text(value: string): void {
    let hash = this.texts.get(value)
    if (hash === undefined) {
      hash = 0x811c9dc5
      for (let i = 0; i < value.length; i++) hash = Math.imul(hash ^ value.charCodeAt(i), 0x01000193)
      if (this.texts.size < 10_000) this.texts.set(value, hash)
    }
    this.word(hash)
  }

  /** The length, the beginning and the end: enough to tell two messages apart, cheap for large ones. */
  bytes(value: Uint8Array): void {
    const { length } = value
    const head = Math.min(64, length)
    let hash = 0x811c9dc5
    for (let i = 0; i < head; i++) hash = Math.imul(hash ^ (value[i] as number), 0x01000193)
    for (let i = Math.max(head, length - 16); i < length; i++) hash = Math.imul(hash ^ (value[i] as number), 0x01000193)
    this.word(length)
    this.word(hash)
  }

  line(nowMs: number, text: () => string): void {
    this.print?.(`${nowMs.toFixed(3).padStart(13)} ${text()}`)
  }

  private word(word: number): void {
    this.a = Math.imul(this.a ^ word, 0x01000193)
    this.b = Math.imul((this.b << 13) | (this.b >>> 19), 0x9e3779b1) ^ word
  }
}
