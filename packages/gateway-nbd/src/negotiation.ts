/**
 * The handshake of one connection, without I/O: bytes in, bytes and an outcome out. Options that need an answer from
 * outside (which exports there are, opening one, its snapshots) suspend it; the connection feeds the answer back.
 *
 * Invariants:
 * 1. At most one question is open, and no option is parsed while it is.
 * 2. Nothing is buffered beyond the declared, bounded length of one option.
 * 3. Metadata contexts hold only for the export they were selected for.
 * 4. With TLS required, nothing is told or promised before TLS; with TLS begun, nothing from before it counts.
 */
import { ClusterError, type InputBuffer, utf8Encode } from '@shoal/base'
import type { BlockDevice } from './block-device.ts'
import { listContexts, type SelectedContext, selectContexts } from './metadata-context.ts'
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeName,
  encodeExport,
  encodeInfos,
  encodeListEntry,
  encodeOptionReply,
  type MetaContextRequest,
  numberAndText,
  transmissionFlags,
  viewOf,
} from './option-payload.ts'
import { handshakeFlag, limits, nbdMagic, option, optionMagic, optionReply } from './protocol.ts'

export type NegotiationQuestion =
  | { readonly kind: 'list' }
  /** `keep`: the connection goes on to transmission with it (GO, EXPORT_NAME). */
  | { readonly kind: 'open'; readonly name: string; readonly keep: boolean }
  | { readonly kind: 'snapshots'; readonly name: string }

export type NegotiationStep =
  | { readonly kind: 'need-bytes' }
  | { readonly kind: 'ask'; readonly question: NegotiationQuestion }
  /** STARTTLS was acknowledged: all that follows, in both directions, is TLS. */
  | { readonly kind: 'secure' }
  | { readonly kind: 'transmission' }
  /** An orderly end (NBD_OPT_ABORT) or, with a reason, a client that breaks the protocol. */
  | { readonly kind: 'close'; readonly reason: string | undefined }

export type TlsMode = 'off' | 'optional' | 'required'

export interface NegotiationOptions {
  readonly tls: TlsMode
  /** All that is asked is refused, with this text. */
  readonly refusal?: string
}

type Phase = 'client-flags' | 'option-header' | 'option-data'

/** The option that waits for an answer. */
interface Pending {
  readonly option: number
  readonly name: string
  readonly infos: ReadonlySet<number>
  readonly queries: readonly string[]
}

/** NBD_OPT_* replies of refusal, by what is wrong. */
export type OptionRefusal = 'errorUnknown' | 'errorPolicy' | 'errorShutdown'

export class Negotiation {
  /** For transmission: how replies look, and what the client was told that it may use. */
  structured = false
  extended = false
  contexts: readonly SelectedContext[] = []
  flags = 0
  private readonly options: NegotiationOptions
  private readonly output: Uint8Array[] = []
  private phase: Phase = 'client-flags'
  private secured = false
  private fixedNewstyle = false
  private noZeroes = false
  private optionCode = 0
  private optionLength = 0
  private optionLeft = 0
  private optionCount = 0
  private contextExport: string | undefined
  private pending: Pending | undefined

  constructor(options: NegotiationOptions) {
    this.options = options
    const greeting = viewOf(new Uint8Array(18))
    greeting.setBigUint64(0, nbdMagic)
    greeting.setBigUint64(8, optionMagic)
    greeting.setUint16(16, handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)
    this.output.push(new Uint8Array(greeting.buffer))
  }

  takeOutput(): readonly Uint8Array[] {
    return this.output.splice(0)
  }

  /** Parses as far as it can. Call again with more bytes after `need-bytes`, after `answer...` when it asked. */
  advance(input: InputBuffer): NegotiationStep {
    for (;;) {
      const step = this.parse(input)
      if (step !== undefined) return step
    }
  }

  private parse(input: InputBuffer): NegotiationStep | undefined {
    switch (this.phase) {
      case 'client-flags':
        return input.length < 4 ? { kind: 'need-bytes' } : this.onClientFlags(viewOf(input.take(4)).getUint32(0))
      case 'option-header':
        return input.length < 16 ? { kind: 'need-bytes' } : this.onOptionHeader(viewOf(input.take(16)))
      default:
        if (this.optionLength > limits.optionBytesMax) return this.skipOption(input)
        if (input.length < this.optionLength) return { kind: 'need-bytes' }
        this.phase = 'option-header'
        return this.onOption(this.optionCode, input.take(this.optionLength))
    }
  }

  private onClientFlags(flags: number): NegotiationStep | undefined {
    if ((flags & ~(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)) !== 0) {
      return { kind: 'close', reason: `unknown client flags 0x${flags.toString(16)}` }
    }
    this.fixedNewstyle = (flags & handshakeFlag.fixedNewstyle) !== 0
    this.noZeroes = (flags & handshakeFlag.noZeroes) !== 0
    this.phase = 'option-header'
    return undefined
  }

  private onOptionHeader(header: DataView): NegotiationStep | undefined {
    if (header.getBigUint64(0) !== optionMagic) return { kind: 'close', reason: 'bad option magic' }
    this.optionCode = header.getUint32(8)
    this.optionLength = header.getUint32(12)
    this.optionLeft = this.optionLength
    if (++this.optionCount > limits.optionsMax) return { kind: 'close', reason: 'too many options' }
    if (this.optionLength > limits.skippedOptionBytesMax) {
      return { kind: 'close', reason: `option of ${this.optionLength} bytes` }
    }
    this.phase = 'option-data'
    return undefined
  }

  private skipOption(input: InputBuffer): NegotiationStep | undefined {
    this.optionLeft -= input.drop(this.optionLeft)
    if (this.optionLeft > 0) return { kind: 'need-bytes' }
    this.phase = 'option-header'
    if (this.optionCode === option.exportName) return { kind: 'close', reason: 'export name too long' }
    this.refuse(this.optionCode, optionReply.errorTooBig, `option of ${this.optionLength} bytes`)
    return undefined
  }

  private onOption(code: number, data: Uint8Array): NegotiationStep | undefined {
    const refusal = this.refusalOf(code)
    if (refusal !== undefined) {
      // EXPORT_NAME has no way to be refused but to be hung up on.
      if (code === option.exportName) return { kind: 'close', reason: refusal.text }
      this.refuse(code, refusal.type, refusal.text)
      return undefined
    }
    try {
      return this.onAllowedOption(code, data)
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      if (code === option.exportName) return { kind: 'close', reason: error.message }
      this.refuse(code, optionReply.errorInvalid, error.message)
      return undefined
    }
  }

  private refusalOf(code: number): { readonly type: number; readonly text: string } | undefined {
    if (code === option.abort) return undefined
    if (this.options.refusal !== undefined) return { type: optionReply.errorPolicy, text: this.options.refusal }
    if (this.options.tls === 'required' && !this.secured && code !== option.startTls) {
      return { type: optionReply.errorTlsRequired, text: 'this server serves over TLS only' }
    }
    return undefined
  }

  private onAllowedOption(code: number, data: Uint8Array): NegotiationStep | undefined {
    switch (code) {
      case option.exportName:
        // The protocol has no such answer in extended form.
        if (this.extended) throw new ClusterError('EINVAL', 'EXPORT_NAME after extended headers')
        return this.open(code, decodeName(data), new Set())
      case option.abort:
        this.reply(code, optionReply.ack)
        return { kind: 'close', reason: undefined }
      case option.list:
        expectEmpty(data)
        return { kind: 'ask', question: { kind: 'list' } }
      case option.info:
      case option.go: {
        const { name, infos } = decodeInfoRequest(data)
        return this.open(code, name, infos)
      }
      case option.structuredReply:
        expectEmpty(data)
        this.onStructuredReply()
        return undefined
      case option.extendedHeaders:
        expectEmpty(data)
        this.extended = true
        this.reply(code, optionReply.ack)
        return undefined
      case option.listMetaContext:
      case option.setMetaContext:
        return this.onMetaContext(code, data)
      case option.startTls:
        return this.onStartTls(data)
      default:
        this.refuse(code, optionReply.errorUnsupported, `option ${code} is not known`)
        return undefined
    }
  }

  private onStructuredReply(): void {
    if (this.extended) {
      this.refuse(option.structuredReply, optionReply.errorExtendedHeadersRequired, 'extended headers are in use')
      return
    }
    this.structured = true
    this.reply(option.structuredReply, optionReply.ack)
  }

  private onStartTls(data: Uint8Array): NegotiationStep | undefined {
    if (this.options.tls === 'off' || !this.fixedNewstyle) {
      this.refuse(option.startTls, optionReply.errorPolicy, 'this server does not offer TLS')
      return undefined
    }
    if (this.secured) throw new ClusterError('EINVAL', 'TLS is in use already')
    expectEmpty(data)
    this.reply(option.startTls, optionReply.ack)
    this.secured = true
    this.structured = false
    this.extended = false
    this.contexts = []
    this.contextExport = undefined
    return { kind: 'secure' }
  }

  private open(code: number, name: string, infos: ReadonlySet<number>): NegotiationStep {
    this.pending = { option: code, name, infos, queries: [] }
    return { kind: 'ask', question: { kind: 'open', name, keep: code !== option.info } }
  }

  private onMetaContext(code: number, data: Uint8Array): NegotiationStep {
    if (code === option.setMetaContext) {
      // Also when this one fails: what was selected before is gone.
      this.contexts = []
      this.contextExport = undefined
    }
    if (!this.structured && !this.extended) throw new ClusterError('EINVAL', 'negotiate structured replies first')
    const request: MetaContextRequest = decodeMetaContextRequest(data)
    this.pending = { option: code, infos: new Set(), ...request }
    return { kind: 'ask', question: { kind: 'snapshots', name: request.name } }
  }

  answerList(exports: readonly { readonly name: string; readonly description: string }[]): void {
    for (const { name, description } of exports) {
      this.reply(option.list, optionReply.server, encodeListEntry(name, description))
    }
    this.reply(option.list, optionReply.ack)
  }

  answerSnapshots(snapshots: readonly string[]): void {
    const { option: code, name, queries } = this.takePending()
    const set = code === option.setMetaContext
    const contexts = set ? selectContexts(snapshots, queries) : listContexts(snapshots, queries)
    if (set) {
      this.contexts = contexts
      this.contextExport = name
    }
    for (const context of contexts) {
      this.reply(code, optionReply.metaContext, numberAndText(set ? context.id : 0, utf8Encode(context.name)))
    }
    this.reply(code, optionReply.ack)
  }

  /** The export that was asked for, by its proper name. Returns what follows. */
  answerOpen(device: BlockDevice, name: string): NegotiationStep | undefined {
    const pending = this.takePending()
    const flags = transmissionFlags(device, this.structured, this.extended)
    if (pending.option === option.exportName) {
      this.output.push(encodeExport(device, flags, this.noZeroes ? 0 : 124))
    } else {
      for (const info of encodeInfos(device, name, flags, pending.infos)) {
        this.reply(pending.option, optionReply.info, info)
      }
      this.reply(pending.option, optionReply.ack)
      if (pending.option === option.info) return undefined
    }
    this.flags = flags
    if (this.contextExport !== pending.name) this.contexts = []
    return { kind: 'transmission' }
  }

  /** What was asked for cannot be had. Returns what follows. */
  answerRefusal(refusal: OptionRefusal, text: string): NegotiationStep | undefined {
    const code = this.pending?.option ?? option.list
    this.pending = undefined
    if (code === option.exportName) return { kind: 'close', reason: text }
    this.refuse(code, optionReply[refusal], text)
    return undefined
  }

  private takePending(): Pending {
    const pending = this.pending as Pending
    this.pending = undefined
    return pending
  }

  private refuse(code: number, type: number, text: string): void {
    this.reply(code, type, [utf8Encode(text.slice(0, limits.errorTextCharactersMax))])
  }

  private reply(code: number, type: number, body: readonly Uint8Array[] = []): void {
    this.output.push(...encodeOptionReply(code, type, body))
  }
}

function expectEmpty(data: Uint8Array): void {
  if (data.length > 0) throw new ClusterError('EINVAL', 'the option takes no data')
}
