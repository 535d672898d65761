/**
 * The handshake of one connection, without I/O: bytes in, bytes and an outcome out. Options that need an answer from
 * outside (which exports there are, opening one) suspend it; the connection feeds the answer back.
 *
 * Invariants:
 * 1. At most one question is open, and no option is parsed while it is.
 * 2. Nothing is buffered beyond the declared, bounded length of one option.
 * 3. A metadata context holds only for the export it was selected for.
 */
import { ClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import type { BlockDevice } from './block-device.ts'
import type { ByteQueue } from './byte-queue.ts'
import {
  allocationContext,
  allocationContextId,
  handshakeFlag,
  infoType,
  limits,
  nbdMagic,
  option,
  optionMagic,
  optionReply,
  optionReplyMagic,
  transmissionFlag,
} from './protocol.ts'

export type NegotiationQuestion =
  | { readonly kind: 'list' }
  /** `keep`: the connection goes on to transmission with it (GO, EXPORT_NAME). */
  | { readonly kind: 'open'; readonly name: string; readonly keep: boolean }

export type NegotiationStep =
  | { readonly kind: 'need-bytes' }
  | { readonly kind: 'ask'; readonly question: NegotiationQuestion }
  | { readonly kind: 'transmission' }
  /** An orderly end (NBD_OPT_ABORT) or, with a reason, a client that breaks the protocol. */
  | { readonly kind: 'close'; readonly reason: string | undefined }

export interface NegotiatedOptions {
  structuredReplies: boolean
  /** `base:allocation` was selected for the export that is served. */
  allocationContext: boolean
}

type Phase = 'client-flags' | 'option-header' | 'option-data'

export class Negotiation {
  readonly options: NegotiatedOptions = { structuredReplies: false, allocationContext: false }
  private readonly output: Uint8Array[] = []
  private phase: Phase = 'client-flags'
  private noZeroes = false
  private optionCode = 0
  private optionLength = 0
  private optionCount = 0
  private contextExport: string | undefined
  private pending: { readonly option: number; readonly name: string; readonly infos: ReadonlySet<number> } | undefined

  constructor() {
    const greeting = new DataView(new ArrayBuffer(18))
    greeting.setBigUint64(0, nbdMagic)
    greeting.setBigUint64(8, optionMagic)
    greeting.setUint16(16, handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)
    this.output.push(new Uint8Array(greeting.buffer))
  }

  takeOutput(): readonly Uint8Array[] {
    return this.output.splice(0)
  }

  /** Parses as far as it can. Call again with more bytes after `need-bytes`, after `answer...` when it asked. */
  advance(input: ByteQueue): NegotiationStep {
    for (;;) {
      if (this.phase === 'client-flags') {
        if (input.length < 4) return { kind: 'need-bytes' }
        const flags = view(input.take(4)).getUint32(0)
        if ((flags & ~(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)) !== 0) {
          return { kind: 'close', reason: `unknown client flags 0x${flags.toString(16)}` }
        }
        this.noZeroes = (flags & handshakeFlag.noZeroes) !== 0
        this.phase = 'option-header'
      } else if (this.phase === 'option-header') {
        if (input.length < 16) return { kind: 'need-bytes' }
        const header = view(input.take(16))
        if (header.getBigUint64(0) !== optionMagic) return { kind: 'close', reason: 'bad option magic' }
        this.optionCode = header.getUint32(8)
        this.optionLength = header.getUint32(12)
        if (++this.optionCount > limits.optionsMax) return { kind: 'close', reason: 'too many options' }
        if (this.optionLength > limits.optionBytesMax) {
          return { kind: 'close', reason: `option of ${this.optionLength} bytes` }
        }
        this.phase = 'option-data'
      } else {
        if (input.length < this.optionLength) return { kind: 'need-bytes' }
        this.phase = 'option-header'
        const step = this.onOption(this.optionCode, input.take(this.optionLength))
        if (step !== undefined) return step
      }
    }
  }

  answerList(exports: readonly { readonly name: string; readonly description: string }[]): void {
    for (const { name, description } of exports) {
      const nameBytes = utf8Encode(name)
      const length = view(new Uint8Array(4))
      length.setUint32(0, nameBytes.length)
      this.reply(option.list, optionReply.server, [bytesOf(length), nameBytes, utf8Encode(description)])
    }
    this.reply(option.list, optionReply.ack)
  }

  /** The export that was asked for; undefined when there is none. Returns what follows. */
  answerOpen(device: BlockDevice | undefined, reason: string): NegotiationStep | undefined {
    const pending = this.pending as NonNullable<typeof this.pending>
    this.pending = undefined
    if (device === undefined) {
      // EXPORT_NAME has no way to refuse but to hang up.
      if (pending.option === option.exportName) return { kind: 'close', reason }
      this.reply(pending.option, optionReply.errorUnknown, [utf8Encode(reason)])
      return undefined
    }
    if (pending.option === option.exportName) {
      this.output.push(exportDescription(device, this.noZeroes ? 0 : 124))
    } else {
      this.replyInfo(pending, device)
      this.reply(pending.option, optionReply.ack)
      if (pending.option === option.info) return undefined
    }
    this.options.allocationContext = this.contextExport === pending.name && this.options.structuredReplies
    return { kind: 'transmission' }
  }

  answerFailure(message: string): NegotiationStep | undefined {
    const code = this.pending?.option ?? option.list
    this.pending = undefined
    if (code === option.exportName) return { kind: 'close', reason: message }
    this.reply(code, optionReply.errorShutdown, [utf8Encode(message)])
    return undefined
  }

  private onOption(code: number, data: Uint8Array): NegotiationStep | undefined {
    try {
      switch (code) {
        case option.exportName:
          return this.open(code, decodeName(data), new Set())
        case option.abort:
          this.reply(code, optionReply.ack)
          return { kind: 'close', reason: undefined }
        case option.list:
          if (data.length > 0) throw new ClusterError('EINVAL', 'LIST takes no data')
          return { kind: 'ask', question: { kind: 'list' } }
        case option.info:
        case option.go:
          return this.onInfoOrGo(code, data)
        case option.structuredReply:
          if (data.length > 0) throw new ClusterError('EINVAL', 'STRUCTURED_REPLY takes no data')
          this.options.structuredReplies = true
          this.reply(code, optionReply.ack)
          return undefined
        case option.listMetaContext:
        case option.setMetaContext:
          this.onMetaContext(code, data)
          return undefined
        case option.startTls:
          this.reply(code, optionReply.errorPolicy, [utf8Encode('TLS is not offered: this server listens on loopback')])
          return undefined
        default:
          this.reply(code, optionReply.errorUnsupported)
          return undefined
      }
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      if (code === option.exportName) return { kind: 'close', reason: error.message }
      this.reply(code, optionReply.errorInvalid, [utf8Encode(error.message)])
      return undefined
    }
  }

  private open(code: number, name: string, infos: ReadonlySet<number>): NegotiationStep {
    this.pending = { option: code, name, infos }
    return { kind: 'ask', question: { kind: 'open', name, keep: code !== option.info } }
  }

  private onInfoOrGo(code: number, data: Uint8Array): NegotiationStep {
    const fields = view(data)
    if (data.length < 6) throw new ClusterError('EINVAL', 'option too short')
    const nameLength = fields.getUint32(0)
    if (nameLength > data.length - 6) throw new ClusterError('EINVAL', 'name longer than the option')
    const name = decodeName(data.subarray(4, 4 + nameLength))
    const count = fields.getUint16(4 + nameLength)
    if (data.length !== 6 + nameLength + 2 * count)
      throw new ClusterError('EINVAL', 'wrong number of information requests')
    const infos = new Set<number>()
    for (let i = 0; i < count; i++) infos.add(fields.getUint16(6 + nameLength + 2 * i))
    return this.open(code, name, infos)
  }

  private onMetaContext(code: number, data: Uint8Array): void {
    if (!this.options.structuredReplies) throw new ClusterError('EINVAL', 'negotiate structured replies first')
    const { name, queries } = decodeMetaContextQueries(data)
    const wanted = queries.some(
      (query) => query === allocationContext || (code === option.listMetaContext && query === 'base:'),
    )
    const listed = code === option.listMetaContext && queries.length === 0
    if (code === option.setMetaContext) this.contextExport = wanted ? name : undefined
    if (wanted || listed) {
      const id = view(new Uint8Array(4))
      id.setUint32(0, code === option.setMetaContext ? allocationContextId : 0)
      this.reply(code, optionReply.metaContext, [bytesOf(id), utf8Encode(allocationContext)])
    }
    this.reply(code, optionReply.ack)
  }

  private replyInfo(
    pending: { readonly option: number; readonly name: string; readonly infos: ReadonlySet<number> },
    device: BlockDevice,
  ): void {
    const about = (type: number, body: Uint8Array): void => {
      const header = view(new Uint8Array(2))
      header.setUint16(0, type)
      this.reply(pending.option, optionReply.info, [bytesOf(header), body])
    }
    about(infoType.export, exportDescription(device, 0))
    if (pending.infos.has(infoType.name)) about(infoType.name, utf8Encode(pending.name))
    if (pending.infos.has(infoType.description)) about(infoType.description, utf8Encode(device.description))
    // Sent whether asked for or not: clients that know it use it, others skip it.
    const sizes = view(new Uint8Array(12))
    sizes.setUint32(0, 1)
    sizes.setUint32(4, device.preferredBlockBytes)
    sizes.setUint32(8, limits.payloadBytesMax)
    about(infoType.blockSize, bytesOf(sizes))
  }

  private reply(code: number, type: number, body: readonly Uint8Array[] = []): void {
    const header = view(new Uint8Array(20))
    header.setBigUint64(0, optionReplyMagic)
    header.setUint32(8, code)
    header.setUint32(12, type)
    header.setUint32(
      16,
      body.reduce((sum, part) => sum + part.length, 0),
    )
    this.output.push(bytesOf(header), ...body)
  }
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function bytesOf(data: DataView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

function decodeName(bytes: Uint8Array): string {
  if (bytes.length > limits.exportNameBytesMax) throw new ClusterError('EINVAL', 'export name over 4096 bytes')
  try {
    return utf8Decode(bytes)
  } catch (cause) {
    throw new ClusterError('EINVAL', 'export name is not UTF-8', { cause })
  }
}

function decodeMetaContextQueries(data: Uint8Array): { readonly name: string; readonly queries: readonly string[] } {
  const fields = view(data)
  let at = 0
  const take = (length: number): number => {
    if (length > data.length - at) throw new ClusterError('EINVAL', 'option too short')
    at += length
    return at - length
  }
  const text = (): string => {
    const length = fields.getUint32(take(4))
    const start = take(length)
    return decodeName(data.subarray(start, start + length))
  }
  const name = text()
  const count = fields.getUint32(take(4))
  if (count > limits.metaContextQueriesMax) throw new ClusterError('EINVAL', 'too many metadata context queries')
  const queries: string[] = []
  for (let i = 0; i < count; i++) queries.push(text())
  if (at !== data.length) throw new ClusterError('EINVAL', 'left-over bytes in the option')
  return { name, queries }
}

/** Size and transmission flags; for EXPORT_NAME 124 zero bytes follow unless the client waived them. */
function exportDescription(device: BlockDevice, padding: number): Uint8Array {
  const fields = view(new Uint8Array(10 + padding))
  fields.setBigUint64(0, BigInt(device.sizeBytes))
  fields.setUint16(8, transmissionFlags(device))
  return bytesOf(fields)
}

/** Multi-conn holds because a write is durable and visible on every connection before it is acknowledged. */
function transmissionFlags(device: BlockDevice): number {
  const always =
    transmissionFlag.hasFlags |
    transmissionFlag.sendFlush |
    transmissionFlag.sendFua |
    transmissionFlag.sendDf |
    transmissionFlag.canMultiConn |
    transmissionFlag.sendCache
  return device.readOnly
    ? always | transmissionFlag.readOnly
    : always | transmissionFlag.sendTrim | transmissionFlag.sendWriteZeroes | transmissionFlag.sendFastZero
}
