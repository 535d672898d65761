/** Translates between the generated protobuf types and ours. What a newer peer sends and we do not know is dropped. */
import {
  type Address,
  ClusterError,
  decode,
  type Epoch,
  type ErrorCode,
  encode,
  errorTable,
  type OsdId,
  type PgId,
  parseAddress,
} from '@shoal/base'
import type {
  CommandReply__Output,
  CommandReply as CommandReplyMessage,
} from '../generated/shoal/monitor/v1/CommandReply.ts'
import type {
  CommandRequest__Output,
  CommandRequest as CommandRequestMessage,
} from '../generated/shoal/monitor/v1/CommandRequest.ts'
import type { ConsensusMessage__Output } from '../generated/shoal/monitor/v1/ConsensusMessage.ts'
import type { Failure, Failure__Output } from '../generated/shoal/monitor/v1/Failure.ts'
import type { MapUpdate__Output, MapUpdate as MapUpdateMessage } from '../generated/shoal/monitor/v1/MapUpdate.ts'
import type { OsdBoot__Output, OsdBoot as OsdBootMessage } from '../generated/shoal/monitor/v1/OsdBoot.ts'
import type { Report__Output, Report as ReportMessage } from '../generated/shoal/monitor/v1/Report.ts'
import type { ClusterLogEntry, CommandReply, MonitorCommand, OsdBoot } from '../monitor-client.ts'
import { statsReportCodec } from '../stats-codec.ts'
import type { CommandRequest, ConsensusMessage, MapUpdate, Report } from '../transport.ts'

export function failureMessage(error: ClusterError): Failure {
  return {
    code: error.code,
    message: error.message,
    hint: error.hint ?? '',
    retry: error.retry,
    outcomeUnknown: error.outcome === 'unknown',
  }
}

export function failureFrom(failure: Failure__Output): ClusterError {
  const code = (Object.hasOwn(errorTable, failure.code) ? failure.code : 'EIO') as ErrorCode
  return new ClusterError(code, failure.message, {
    ...(failure.hint === '' ? {} : { hint: failure.hint }),
    retry: failure.retry,
    outcome: failure.outcomeUnknown ? 'unknown' : 'not-applied',
  })
}

export function commandRequestMessage(request: CommandRequest): CommandRequestMessage {
  const { command, requestId, stale, forwarded, timeoutMs } = request
  return { commandJson: JSON.stringify(command), requestId, stale, forwarded, timeoutMs: Math.ceil(timeoutMs) }
}

/** Throws EINVAL when the command is no JSON object with a prefix. */
export function commandRequestFrom(message: CommandRequest__Output): CommandRequest {
  const { requestId, stale, forwarded, timeoutMs } = message
  return { command: commandFrom(message.commandJson), requestId, stale, forwarded, timeoutMs }
}

function commandFrom(json: string): MonitorCommand {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw new ClusterError('EINVAL', 'the command is not JSON', { cause })
  }
  if (typeof value !== 'object' || value === null || typeof (value as { prefix?: unknown }).prefix !== 'string') {
    throw new ClusterError('EINVAL', 'a command is a JSON object with a prefix', {
      hint: '{"prefix": "status"}',
    })
  }
  return value as MonitorCommand
}

export function commandReplyMessage(reply: CommandReply): CommandReplyMessage {
  return {
    status: reply.status,
    dataJson: reply.data === undefined ? '' : JSON.stringify(reply.data),
    stale: reply.stale ?? false,
  }
}

export function commandReplyFrom(message: CommandReply__Output): CommandReply {
  const data: unknown = message.dataJson === '' ? undefined : JSON.parse(message.dataJson)
  return { status: message.status, data, ...(message.stale ? { stale: true } : {}) }
}

export function mapUpdateMessage(update: MapUpdate): MapUpdateMessage {
  return {
    osdMapIncrementals: update.osdMapIncrementals as Uint8Array[],
    ...(update.osdMapFull === undefined ? {} : { osdMapFull: update.osdMapFull }),
    ...(update.monitorMap === undefined ? {} : { monitorMap: update.monitorMap }),
    ...(update.quorum === undefined ? {} : { quorum: update.quorum }),
    ...(update.config === undefined ? {} : { config: update.config }),
  }
}

export function mapUpdateFrom(message: MapUpdate__Output): MapUpdate {
  const present = (bytes: Uint8Array) => (bytes.length === 0 ? undefined : bytes)
  return {
    osdMapFull: present(message.osdMapFull),
    osdMapIncrementals: message.osdMapIncrementals,
    monitorMap: present(message.monitorMap),
    quorum: message.quorum === null ? undefined : { term: message.quorum.term, leaderId: message.quorum.leaderId },
    config: present(message.config),
  }
}

export function reportMessage(report: Report): ReportMessage {
  switch (report.kind) {
    case 'boot':
      return { boot: bootMessage(report.boot) }
    case 'shutdown':
      return { shutdown: { osd: report.osd, incarnation: report.incarnation } }
    case 'failure':
      return { failure: report.failure }
    case 'up-thru':
      return { upThru: { osd: report.osd, epoch: report.epoch } }
    case 'pg-temp': {
      const entries = [...report.entries].map(([pgId, osds]) => ({ pgId, osds: [...osds] }))
      return { pgTemp: { osd: report.osd, epoch: report.epoch, entries } }
    }
    case 'stats':
      return { stats: encode(statsReportCodec, report.stats) }
    case 'log':
      return { log: report.entry }
  }
}

/** Undefined for a kind that a newer peer has added. Throws EBADMSG on malformed statistics. */
export function reportFrom(message: Report__Output): Report | undefined {
  if (message.boot) return { kind: 'boot', boot: bootFrom(message.boot) }
  if (message.shutdown) {
    return { kind: 'shutdown', osd: message.shutdown.osd as OsdId, incarnation: message.shutdown.incarnation }
  }
  if (message.failure) {
    const { reporter, failed, incarnation, silentForMs, refused, retracted, epoch } = message.failure
    return {
      kind: 'failure',
      failure: {
        reporter: reporter as OsdId,
        failed: failed as OsdId,
        incarnation,
        silentForMs,
        refused,
        retracted,
        epoch: epoch as Epoch,
      },
    }
  }
  if (message.upThru) {
    return { kind: 'up-thru', osd: message.upThru.osd as OsdId, epoch: message.upThru.epoch as Epoch }
  }
  if (message.pgTemp) {
    const { osd, epoch, entries } = message.pgTemp
    return {
      kind: 'pg-temp',
      osd: osd as OsdId,
      epoch: epoch as Epoch,
      entries: new Map(entries.map((entry) => [entry.pgId as PgId, entry.osds as OsdId[]])),
    }
  }
  if (message.log) return { kind: 'log', entry: logEntryFrom(message.log) }
  if (message.kind === 'stats' && message.stats) {
    return { kind: 'stats', stats: decode(statsReportCodec, message.stats) }
  }
  return undefined
}

const logLevels: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies ClusterLogEntry['level'][]

function logEntryFrom(message: { from: string; wallMs: number; level: string; message: string }): ClusterLogEntry {
  const level = (logLevels.includes(message.level) ? message.level : 'info') as ClusterLogEntry['level']
  return { from: message.from, wallMs: message.wallMs, level, message: message.message }
}

function bootMessage(boot: OsdBoot): OsdBootMessage {
  return {
    osd: boot.osd,
    uuid: boot.uuid,
    incarnation: boot.incarnation,
    dataAddress: boot.addresses.data,
    heartbeatAddress: boot.addresses.heartbeat,
    adminAddress: boot.addresses.admin,
    features: boot.features,
    crushLocation: boot.crushLocation as Record<string, string>,
    deviceClass: boot.deviceClass ?? '',
    crushWeight: boot.crushWeight,
    mapEpoch: boot.mapEpoch,
  }
}

function bootFrom(message: OsdBoot__Output): OsdBoot {
  return {
    osd: message.osd as OsdId,
    uuid: message.uuid,
    incarnation: message.incarnation,
    addresses: {
      data: message.dataAddress as Address,
      heartbeat: message.heartbeatAddress as Address,
      admin: message.adminAddress as Address,
    },
    features: message.features,
    crushLocation: { ...message.crushLocation },
    deviceClass: message.deviceClass === '' ? undefined : message.deviceClass,
    crushWeight: message.crushWeight,
    mapEpoch: message.mapEpoch as Epoch,
  }
}

/** An address that is none is left out: the sender is answered at the one that the monitor map has. */
export function consensusOf(message: ConsensusMessage__Output): ConsensusMessage {
  const { from, to, payload, address } = message
  return { from, to, payload, address: (parseAddress(address) === undefined ? '' : address) as Address }
}
