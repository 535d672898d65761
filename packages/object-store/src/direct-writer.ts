/**
 * Bodies that go straight to fresh units of the data file, past the journal.
 *
 * Durable before what: the bytes are synced before their `DirectWrite` is durable, which is what the journal waits for
 * before it writes the record that names their units. One sync serves all that was written before it began.
 */
import type { DirectWrite } from './journal.ts'

export interface DirectPiece {
  readonly unit: number
  readonly data: Uint8Array
}

export interface DirectWriterOptions {
  readonly write: (pieces: readonly DirectPiece[]) => Promise<void>
  readonly datasync: () => Promise<void>
  /** Something became durable. */
  readonly onDurable: () => void
  readonly onFailure: (cause: unknown) => void
}

export class DirectWriter {
  private readonly options: DirectWriterOptions
  private unsynced: DirectWrite[] = []
  private syncing = false

  constructor(options: DirectWriterOptions) {
    this.options = options
  }

  write(pieces: readonly DirectPiece[]): DirectWrite {
    const direct: DirectWrite = { durable: false }
    this.options
      .write(pieces)
      .then(() => {
        this.unsynced.push(direct)
        return this.syncing ? undefined : this.sync()
      })
      .catch(this.options.onFailure)
    return direct
  }

  private async sync(): Promise<void> {
    this.syncing = true
    while (this.unsynced.length > 0) {
      const written = this.unsynced
      this.unsynced = []
      await this.options.datasync()
      for (const direct of written) direct.durable = true
      this.options.onDurable()
    }
    this.syncing = false
  }
}
