/**
 * One client connection, from greeting to goodbye. Requests run side by side and are answered as they finish, as the
 * protocol allows; what one client can make us hold is bounded:
 *
 * 1. At most `requestsMax` requests and `bytesMax` of their payload (written or to be read) are in progress; above that
 *    the socket is not read.
 * 2. Nothing more is read while the client does not take our replies.
 * 3. A client that has not finished its handshake after `handshakeTimeoutMs` is hung up on.
 */
import { assert, type ByteStream, type Env, type Log, type Timer, unreachable } from '@shoal/base'
import type { BlockDevice, DeviceData, ExportSource, NbdExport } from './block-device.ts'
import { ByteQueue } from './byte-queue.ts'
import { toNbdError } from './errors.ts'
import { Negotiation, type NegotiationQuestion, type NegotiationStep } from './negotiation.ts'
import { command, commandFlag, type NbdError } from './protocol.ts'
import { blockStatusChunk, dataChunk, doneChunk, errorChunk, holeChunk, simpleReply } from './reply.ts'
import { findFault, type NbdRequest, RequestParser } from './request.ts'
import type { NbdCounters } from './server.ts'

const requestsMax = 256
const bytesMax = 64 * 1024 * 1024
const handshakeTimeoutMs = 20_000
/** A status reply covers at most this much: asking a huge image costs one bounded look. */
const blockStatusBytesMax = 1024 * 1024 * 1024

export interface RequestInFlight {
  readonly remote: string
  readonly type: number
  readonly offset: number
  readonly length: number
  readonly ageMs: number
}

export interface ConnectionOptions {
  readonly env: Pick<Env, 'timers' | 'clock'>
  readonly log: Log
  readonly stream: ByteStream
  readonly exports: ExportSource
  readonly counters: NbdCounters
  readonly onClosed: () => void
}

export class NbdConnection {
  private readonly options: ConnectionOptions
  private readonly stream: ByteStream
  private readonly input = new ByteQueue()
  private readonly negotiation = new Negotiation()
  private readonly parser = new RequestParser()
  private readonly handshakeTimer: Timer
  private phase: 'negotiation' | 'asking' | 'transmission' | 'closed' = 'negotiation'
  private served: NbdExport | undefined
  /** Requests in progress and when they began. */
  private readonly requests = new Map<NbdRequest, number>()
  private bytes = 0
  private paused = false
  private draining = false

  constructor(options: ConnectionOptions) {
    this.options = options
    this.stream = options.stream
    this.handshakeTimer = options.env.timers.after(handshakeTimeoutMs, () => this.close('no handshake in time'))
    this.stream.attach({
      onOpen: () => undefined,
      onData: (chunk) => {
        this.input.push(chunk)
        this.advance()
      },
      onDrain: () => {
        this.draining = false
        this.advance()
      },
      onClose: (error) => this.onStreamClosed(error),
    })
    this.send(this.negotiation.takeOutput())
  }

  requestsInFlight(): readonly RequestInFlight[] {
    const nowMs = this.options.env.clock.monotonicMs()
    return [...this.requests].map(([{ type, offset, length }, startedMs]) => ({
      remote: this.stream.remote,
      type,
      offset,
      length,
      ageMs: nowMs - startedMs,
    }))
  }

  /** Hangs up; requests in progress still finish against the device. */
  close(reason: string | undefined): void {
    if (this.phase === 'closed') return
    if (reason !== undefined) this.options.log.info('closing NBD connection', { remote: this.stream.remote, reason })
    if (reason === undefined) this.stream.end()
    else this.stream.destroy()
    this.leave()
  }

  private onStreamClosed(error: Error | undefined): void {
    if (error !== undefined)
      this.options.log.debug('NBD connection lost', { remote: this.stream.remote, error: error.message })
    this.leave()
  }

  private leave(): void {
    if (this.phase === 'closed') return
    this.phase = 'closed'
    this.handshakeTimer.cancel()
    this.releaseWhenIdle()
    this.options.onClosed()
  }

  private releaseWhenIdle(): void {
    const served = this.served
    if (this.phase !== 'closed' || this.requests.size > 0 || served === undefined) return
    this.served = undefined
    served
      .close()
      .catch((error: unknown) => this.options.log.warn('closing an export failed', { error: String(error) }))
  }

  private advance(): void {
    if (this.phase === 'negotiation') this.negotiate()
    if (this.phase === 'transmission') this.serveRequests()
    this.updatePause()
  }

  private updatePause(): void {
    const full = this.draining || this.requests.size >= requestsMax || this.bytes >= bytesMax || this.phase === 'asking'
    if (this.phase === 'closed' || full === this.paused) return
    this.paused = full
    if (full) this.stream.pause()
    else this.stream.resume()
  }

  private send(chunks: readonly Uint8Array[]): void {
    if (this.phase === 'closed' || chunks.length === 0) return
    if (!this.stream.write(chunks)) this.draining = true
  }

  // Handshake

  private negotiate(): void {
    const step = this.negotiation.advance(this.input)
    this.send(this.negotiation.takeOutput())
    this.onStep(step)
  }

  private onStep(step: NegotiationStep): void {
    switch (step.kind) {
      case 'need-bytes':
        return
      case 'close':
        return this.close(step.reason)
      case 'transmission':
        this.handshakeTimer.cancel()
        assert(this.served !== undefined, 'transmission starts with an open export')
        this.phase = 'transmission'
        return
      case 'ask':
        this.phase = 'asking'
        this.ask(step.question).then(
          (next) => this.onAnswer(next),
          (error: unknown) => this.onAnswer(this.negotiation.answerFailure(String(error))),
        )
        return
      default:
        unreachable(step)
    }
  }

  private onAnswer(next: NegotiationStep | undefined): void {
    if (this.phase === 'closed') return this.releaseWhenIdle()
    this.phase = 'negotiation'
    this.send(this.negotiation.takeOutput())
    if (next !== undefined) this.onStep(next)
    this.advance()
  }

  private async ask(question: NegotiationQuestion): Promise<NegotiationStep | undefined> {
    if (question.kind === 'list') {
      this.negotiation.answerList(await this.options.exports.list())
      return undefined
    }
    const opened = await this.options.exports.open(question.name)
    if (opened === undefined) return this.negotiation.answerOpen(undefined, `no export named '${question.name}'`)
    if (question.keep) this.served = opened
    const next = this.negotiation.answerOpen(opened.device, '')
    if (!question.keep) await opened.close()
    return next
  }

  // Transmission

  private serveRequests(): void {
    while (
      this.phase === 'transmission' &&
      !this.draining &&
      this.requests.size < requestsMax &&
      this.bytes < bytesMax
    ) {
      const request = this.parser.next(this.input)
      if (request === 'need-bytes') return
      if (request === 'unfollowable') return this.close('malformed request')
      if (request.type === command.disconnect) return this.close(undefined)
      this.start(request, (this.served as NbdExport).device)
    }
  }

  private start(request: NbdRequest, device: BlockDevice): void {
    const fault = findFault(request, device, this.negotiation.options.allocationContext)
    if (fault !== undefined) return this.send(this.failure(request, fault))
    const held = request.type === command.read || request.type === command.write ? request.length : 0
    const startedMs = this.options.env.clock.monotonicMs()
    this.requests.set(request, startedMs)
    this.bytes += held
    this.execute(request, device)
      .catch((error: unknown) => {
        this.options.counters.errors++
        this.options.log.warn('NBD request failed', {
          type: request.type,
          offset: request.offset,
          length: request.length,
          error: String(error),
        })
        return this.failure(request, toNbdError(error))
      })
      .then((reply) => {
        this.requests.delete(request)
        this.bytes -= held
        this.options.counters.record(request.type, request.length, this.options.env.clock.monotonicMs() - startedMs)
        this.send(reply)
        this.releaseWhenIdle()
        this.advance()
      })
      .catch((error: unknown) => this.close(`internal error: ${String(error)}`))
  }

  private failure(request: NbdRequest, error: NbdError): Uint8Array[] {
    return this.negotiation.options.structuredReplies && isStructured(request)
      ? errorChunk(request, error)
      : simpleReply(request, error)
  }

  private async execute(request: NbdRequest, device: BlockDevice): Promise<Uint8Array[]> {
    const { offset, length } = request
    switch (request.type) {
      case command.read:
        return this.read(request, device)
      case command.write:
        await device.write(offset, request.data as Uint8Array)
        return simpleReply(request, undefined)
      case command.flush:
        await device.flush()
        return simpleReply(request, undefined)
      case command.trim:
        await device.trim(offset, length)
        return simpleReply(request, undefined)
      case command.writeZeroes:
        await device.writeZeroes(offset, length, (request.flags & commandFlag.noHole) === 0)
        return simpleReply(request, undefined)
      case command.cache:
        if (length > 0) await device.extents(offset, Math.min(length, blockStatusBytesMax))
        return simpleReply(request, undefined)
      default:
        assert(request.type === command.blockStatus, 'findFault refused every other type')
        return this.blockStatus(request, device)
    }
  }

  private async read(request: NbdRequest, device: BlockDevice): Promise<Uint8Array[]> {
    const { offset, length } = request
    const pieces = length === 0 ? [] : await device.read(offset, length)
    if (!this.negotiation.options.structuredReplies)
      return simpleReply(request, undefined, pieces.flatMap(bytesOfPiece))
    if (length === 0) return doneChunk(request)
    return (request.flags & commandFlag.df) === 0
      ? sparseChunks(request, pieces)
      : dataChunk(request, offset, pieces.flatMap(bytesOfPiece), true)
  }

  private async blockStatus(request: NbdRequest, device: BlockDevice): Promise<Uint8Array[]> {
    const extents = await device.extents(request.offset, Math.min(request.length, blockStatusBytesMax))
    return blockStatusChunk(request, (request.flags & commandFlag.reqOne) === 0 ? extents : extents.slice(0, 1))
  }
}

/** Only READ and BLOCK_STATUS answer in chunks; all else may always answer simply. */
function isStructured(request: NbdRequest): boolean {
  return request.type === command.read || request.type === command.blockStatus
}

/** One chunk per run of data and per hole, the last one marked as done. */
function sparseChunks(request: NbdRequest, pieces: readonly DeviceData[]): Uint8Array[] {
  const reply: Uint8Array[] = []
  let offset = request.offset
  pieces.forEach((piece, i) => {
    const done = i === pieces.length - 1
    const length = piece.kind === 'hole' ? piece.length : piece.data.length
    const chunks =
      piece.kind === 'hole' ? holeChunk(request, offset, length, done) : dataChunk(request, offset, [piece.data], done)
    reply.push(...chunks)
    offset += length
  })
  return reply
}

const zeroBytes = new Uint8Array(1024 * 1024)

function bytesOfPiece(piece: DeviceData): Uint8Array[] {
  if (piece.kind === 'data') return [piece.data]
  const chunks: Uint8Array[] = []
  for (let left = piece.length; left > 0; left -= zeroBytes.length) {
    chunks.push(zeroBytes.subarray(0, Math.min(left, zeroBytes.length)))
  }
  return chunks
}
