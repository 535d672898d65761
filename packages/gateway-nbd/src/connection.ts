/**
 * One client connection, from greeting to goodbye. Requests run side by side and are answered as they finish, as the
 * protocol allows; what one client can make us hold is bounded:
 *
 * 1. At most `requestsMax` requests and `bytesMax` of their payload (written or to be read) are in progress, and only one
 *    while all connections together have spent their budget; above that the socket is not read.
 * 2. Nothing more is read while the client does not take our replies.
 * 3. A client that has not finished its handshake in time is hung up on; so is one that does not go when it was told to.
 * 4. What was begun is finished against the device, and answered while there is somebody to answer to.
 */
import { assert, type ByteStream, InputBuffer, type Timer, unreachable } from '@shoal/base'
import type { NbdExport } from './block-device.ts'
import type { ConnectionOptions, RequestInFlight } from './connection-options.ts'
import type { ExportCounters } from './counters.ts'
import { toNbdError } from './errors.ts'
import { Negotiation, type NegotiationQuestion, type NegotiationStep } from './negotiation.ts'
import { command } from './protocol.ts'
import { errorReply } from './reply.ts'
import { findFault, type NbdRequest, RequestParser, type TransmissionTerms } from './request.ts'
import { type RequestContext, serveRequest } from './request-service.ts'

const requestsMax = 256
const bytesMax = 64 * 1024 * 1024
/** Failures of one connection are logged once in so long, with how many there were: a lost image fails them all at once. */
const failureLogMs = 1_000
/** After our goodbye, how long the client may take its last answers. */
const lingerMs = 5_000

type Phase = 'negotiation' | 'asking' | 'securing' | 'transmission' | 'draining' | 'closed'

/** What transmission needs, put together when the handshake is over. */
interface Transmission extends RequestContext {
  readonly parser: RequestParser
  readonly terms: TransmissionTerms
  readonly counters: ExportCounters
}

export class NbdConnection {
  private readonly options: ConnectionOptions
  private stream: ByteStream
  private readonly input = new InputBuffer()
  private readonly negotiation: Negotiation
  private timer: Timer
  private phase: Phase = 'negotiation'
  private served: { readonly export: NbdExport; readonly counters: ExportCounters } | undefined
  private transmission: Transmission | undefined
  /** Requests in progress and when they began. */
  private readonly requests = new Map<NbdRequest, number>()
  private bytes = 0
  private paused = false
  private blocked = false
  private chunksReceived = 0
  private failuresUntold = 0
  private failureToldMs = Number.NEGATIVE_INFINITY

  constructor(options: ConnectionOptions) {
    const { tls, refusal, limits } = options
    this.options = options
    this.stream = options.stream
    this.negotiation = new Negotiation({ tls: tls?.mode ?? 'off', ...(refusal === undefined ? {} : { refusal }) })
    this.timer = options.env.timers.after(limits.handshakeTimeoutMs, () => this.close('no handshake in time'))
    this.attach(options.stream)
    this.send(this.negotiation.takeOutput())
  }

  private attach(stream: ByteStream): void {
    this.stream = stream
    stream.attach({
      onOpen: () => undefined,
      onData: (chunk) => {
        this.chunksReceived++
        // Nothing more is wanted from who was told goodbye.
        if (this.phase === 'draining' || this.phase === 'closed') return
        this.input.push(chunk)
        this.advance()
      },
      onDrain: () => {
        this.blocked = false
        this.advance()
      },
      onClose: (error) => this.onStreamClosed(error),
    })
  }

  requestsInFlight(): readonly RequestInFlight[] {
    const nowMs = this.options.env.clock.monotonicMs()
    return [...this.requests].map(([{ type, offset, length }, startedMs]) => ({
      remote: this.stream.remote,
      export: this.served?.export.name ?? '',
      type,
      offset,
      length,
      ageMs: nowMs - startedMs,
    }))
  }

  /** Begins nothing new, answers what was begun, then closes: NBD_CMD_DISC, or the gateway's own end. */
  drain(): void {
    if (this.phase === 'closed' || this.phase === 'draining') return
    // In the middle of its TLS handshake a connection cannot be ended in order.
    if (this.phase === 'securing') return this.close('server shutting down')
    if (this.phase !== 'transmission' || this.requests.size === 0) return this.close(undefined)
    this.phase = 'draining'
    this.timer.cancel()
    // The end of the client, too, is seen only by reading.
    this.updatePause()
  }

  /** Without a reason what was written is still sent; with one the connection is cut. */
  close(reason: string | undefined): void {
    if (this.phase === 'closed') return
    this.phase = 'closed'
    this.timer.cancel()
    this.releaseWhenIdle()
    if (reason !== undefined) {
      this.options.log.info('closing NBD connection', { remote: this.stream.remote, reason })
      this.stream.destroy()
      return
    }
    this.timer = this.options.env.timers.after(lingerMs, () => this.stream.destroy())
    this.updatePause()
    this.stream.end()
  }

  private onStreamClosed(error: Error | undefined): void {
    if (error !== undefined) {
      this.options.log.debug('NBD connection lost', { remote: this.stream.remote, error: error.message })
    }
    this.phase = 'closed'
    this.timer.cancel()
    this.releaseWhenIdle()
    this.options.onClosed()
  }

  private releaseWhenIdle(): void {
    const served = this.served
    if (this.phase !== 'closed' || this.requests.size > 0 || served === undefined) return
    this.served = undefined
    this.options.counters.detach(served.counters)
    this.closeExport(served.export)
  }

  private closeExport(opened: NbdExport): void {
    opened
      .close()
      .catch((error: unknown) => this.options.log.warn('closing an export failed', { error: String(error) }))
  }

  /** Goes on with what has been received: also when others have given back what they held. */
  advance(): void {
    if (this.phase === 'negotiation') this.negotiate()
    if (this.phase === 'transmission') this.serveRequests(this.transmission as Transmission)
    this.updatePause()
  }

  private updatePause(): void {
    const full = this.phase === 'transmission' || this.phase === 'negotiation' ? this.isFull() : this.phase === 'asking'
    if (full === this.paused || this.phase === 'securing') return
    this.paused = full
    if (full) this.stream.pause()
    else this.stream.resume()
  }

  private isFull(): boolean {
    if (this.blocked || this.requests.size >= requestsMax || this.bytes >= bytesMax) return true
    return this.options.budget.isSpent && this.requests.size > 0
  }

  private send(chunks: readonly Uint8Array[]): void {
    if (this.phase === 'closed' || chunks.length === 0) return
    if (!this.stream.write(chunks)) this.blocked = true
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
      case 'secure':
        return this.startTls()
      case 'transmission':
        return this.startTransmission()
      case 'ask':
        this.phase = 'asking'
        this.ask(step.question).then(
          (next) => this.onAnswer(next),
          (error: unknown) => this.onAnswer(this.negotiation.answerRefusal('errorShutdown', String(error))),
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
    const { exports } = this.options
    switch (question.kind) {
      case 'list':
        this.negotiation.answerList(await exports.list())
        return undefined
      case 'snapshots': {
        const snapshots = await exports.snapshots(question.name)
        if (snapshots === undefined) return this.answerUnknown(question.name)
        this.negotiation.answerSnapshots(snapshots)
        return undefined
      }
      case 'open':
        return this.open(question.name, question.keep)
      default:
        return unreachable(question)
    }
  }

  private answerUnknown(name: string): NegotiationStep | undefined {
    return this.negotiation.answerRefusal('errorUnknown', `no export named '${name}'`)
  }

  private async open(name: string, keep: boolean): Promise<NegotiationStep | undefined> {
    const opened = await this.options.exports.open(name)
    if (opened === undefined) return this.answerUnknown(name)
    if (!keep) {
      const next = this.negotiation.answerOpen(opened.device, opened.name)
      await opened.close()
      return next
    }
    const { counters, limits } = this.options
    const exportCounters = counters.attach(opened.name, limits.exportConnectionsMax)
    if (exportCounters === undefined) {
      counters.refused++
      await opened.close()
      const text = `'${opened.name}' has ${limits.exportConnectionsMax} connections already`
      return this.negotiation.answerRefusal('errorPolicy', text)
    }
    this.served = { export: opened, counters: exportCounters }
    return this.negotiation.answerOpen(opened.device, opened.name)
  }

  private startTls(): void {
    const { tls } = this.options
    assert(tls !== undefined, 'STARTTLS is acknowledged only where TLS is offered')
    // Whatever came with the request was not said in confidence, and would be taken as if it were.
    if (this.input.length > 0) return this.close('bytes between STARTTLS and its answer')
    this.phase = 'securing'
    tls.accept(this.stream).then(
      (secured) => {
        if (this.phase === 'closed') secured.destroy()
        else this.phase = 'negotiation'
        this.attach(secured)
      },
      (error: unknown) => this.onStreamClosed(error instanceof Error ? error : new Error(String(error))),
    )
  }

  // Transmission

  private startTransmission(): void {
    const { negotiation, served } = this
    assert(served !== undefined, 'transmission starts with an open export')
    const { structured, extended, contexts, flags } = negotiation
    this.transmission = {
      device: served.export.device,
      form: extended ? 'extended' : structured ? 'structured' : 'simple',
      contexts,
      isGone: () => this.phase === 'closed',
      parser: new RequestParser(extended),
      terms: { flags, extended, contexts: contexts.length },
      counters: served.counters,
    }
    this.phase = 'transmission'
    this.timer.cancel()
    this.watchIdleness(-1)
  }

  private watchIdleness(chunksBefore: number): void {
    const { idleTimeoutMs } = this.options.limits
    if (idleTimeoutMs === 0) return
    this.timer = this.options.env.timers.after(idleTimeoutMs, () => {
      if (this.chunksReceived === chunksBefore && this.requests.size === 0) this.close('idle')
      else this.watchIdleness(this.chunksReceived)
    })
  }

  private serveRequests(transmission: Transmission): void {
    while (this.phase === 'transmission' && !this.isFull()) {
      const request = transmission.parser.next(this.input)
      if (request === 'need-bytes') return
      if (request === 'unfollowable') return this.close('malformed request')
      if (request.type === command.disconnect) return this.drain()
      this.start(request, transmission)
    }
  }

  private start(request: NbdRequest, transmission: Transmission): void {
    const fault = findFault(request, transmission.terms, transmission.device.sizeBytes)
    if (fault !== undefined) {
      this.options.counters.invalid++
      return this.send(errorReply(transmission.form, request, fault, ''))
    }
    const startedMs = this.options.env.clock.monotonicMs()
    this.requests.set(request, startedMs)
    this.bytes += heldBytes(request)
    this.options.budget.take(heldBytes(request))
    serveRequest(request, transmission).then(
      (reply) => this.finish(request, transmission, startedMs, reply),
      (error: unknown) => this.finish(request, transmission, startedMs, this.failure(request, transmission, error)),
    )
  }

  private failure(request: NbdRequest, { form, counters }: Transmission, error: unknown): Uint8Array[] {
    this.options.counters.errors++
    counters.errors++
    this.failuresUntold++
    const nowMs = this.options.env.clock.monotonicMs()
    if (nowMs - this.failureToldMs >= failureLogMs) {
      const { type, offset, length } = request
      const failures = this.failuresUntold
      this.options.log.warn('NBD request failed', { type, offset, length, error: String(error), failures })
      this.failuresUntold = 0
      this.failureToldMs = nowMs
    }
    return errorReply(form, request, toNbdError(error), String(error))
  }

  private finish(request: NbdRequest, { counters }: Transmission, startedMs: number, reply: Uint8Array[]): void {
    this.requests.delete(request)
    this.bytes -= heldBytes(request)
    this.options.budget.give(heldBytes(request))
    const latencyMs = this.options.env.clock.monotonicMs() - startedMs
    this.options.counters.record(counters, request.type, request.length, latencyMs)
    this.send(reply)
    if (this.phase === 'draining' && this.requests.size === 0) return this.close(undefined)
    this.releaseWhenIdle()
    this.advance()
  }
}

function heldBytes(request: NbdRequest): number {
  return request.type === command.read || request.type === command.write ? request.length : 0
}
