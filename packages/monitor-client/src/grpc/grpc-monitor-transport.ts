/** The monitor protocol over gRPC: both ends. Row 2, so no decision is taken here. */
import type { ServerWritableStream } from '@grpc/grpc-js'
import type { Address, Env, Epoch } from '@shoal/base'
import type { AdminHandlers } from '../admin/admin.ts'
import { adminService } from '../admin/grpc-admin.ts'
import type { CommandReply } from '../generated/shoal/monitor/v1/CommandReply.ts'
import type { CommandRequest__Output } from '../generated/shoal/monitor/v1/CommandRequest.ts'
import type { ConsensusHandlers } from '../generated/shoal/monitor/v1/Consensus.ts'
import type { GetOsdMapReply } from '../generated/shoal/monitor/v1/GetOsdMapReply.ts'
import type { MapUpdate as MapUpdateMessage } from '../generated/shoal/monitor/v1/MapUpdate.ts'
import type { MonitorHandlers } from '../generated/shoal/monitor/v1/Monitor.ts'
import type { ReportReply } from '../generated/shoal/monitor/v1/ReportReply.ts'
import type { ReportRequest__Output } from '../generated/shoal/monitor/v1/ReportRequest.ts'
import type { SubscribeRequest__Output } from '../generated/shoal/monitor/v1/SubscribeRequest.ts'
import type { MonitorConnection, MonitorServer, MonitorService, MonitorTransport, Report } from '../transport.ts'
import { failureOf, serveGrpc } from './calls.ts'
import { monitorContract, serverOptions } from './contracts.ts'
import { GrpcMonitorConnection } from './grpc-monitor-connection.ts'
import {
  commandReplyMessage,
  commandRequestFrom,
  consensusOf,
  failureMessage,
  mapUpdateMessage,
  reportFrom,
} from './messages.ts'

export class GrpcMonitorTransport implements MonitorTransport {
  private readonly env: Pick<Env, 'timers'>

  constructor(env: Pick<Env, 'timers'>) {
    this.env = env
  }

  connect(address: Address): MonitorConnection {
    return new GrpcMonitorConnection(this.env, address)
  }

  serve(address: Address, service: MonitorService, admin: AdminHandlers): Promise<MonitorServer> {
    const contract = monitorContract()
    return serveGrpc(
      [
        [contract.Monitor.service, monitorHandlers(service)],
        [contract.Consensus.service, consensusHandlers(service)],
        adminService(admin),
      ],
      address,
      serverOptions,
    )
  }
}

function monitorHandlers(service: MonitorService): MonitorHandlers {
  return {
    Command: (call, callback) => settle(onCommand(service, call.request), callback),
    Report: (call, callback) => settle(onReport(service, call.request), callback),
    GetOsdMap: (call, callback) => settle(onGetOsdMap(service, call.request.epoch as Epoch), callback),
    Subscribe: (call) => onSubscribe(service, call),
  }
}

function settle<T>(reply: Promise<T>, callback: (error: Error | null, reply?: T) => void): void {
  reply.then(
    (value) => callback(null, value),
    (error: Error) => callback(error),
  )
}

async function onCommand(service: MonitorService, request: CommandRequest__Output): Promise<CommandReply> {
  try {
    return commandReplyMessage(await service.command(commandRequestFrom(request)))
  } catch (error) {
    return { failure: failureMessage(failureOf(error)) }
  }
}

async function onReport(service: MonitorService, request: ReportRequest__Output): Promise<ReportReply> {
  try {
    const reports = request.reports.map(reportFrom).filter((report): report is Report => report !== undefined)
    await service.report(reports, request.forwarded)
    return {}
  } catch (error) {
    return { failure: failureMessage(failureOf(error)) }
  }
}

async function onGetOsdMap(service: MonitorService, epoch: Epoch): Promise<GetOsdMapReply> {
  try {
    return { osdMap: await service.osdMap(epoch) }
  } catch (error) {
    return { failure: failureMessage(failureOf(error)) }
  }
}

function onSubscribe(
  service: MonitorService,
  call: ServerWritableStream<SubscribeRequest__Output, MapUpdateMessage>,
): void {
  const { entity, host, osdMapEpoch, monitorMapEpoch } = call.request
  const session = service.subscribe(
    { entity, host, osdMapEpoch: osdMapEpoch as Epoch, monitorMapEpoch },
    {
      update: (update) => call.write(mapUpdateMessage(update)),
      end(reason) {
        call.write({ failure: failureMessage(reason) })
        call.end()
      },
    },
  )
  call.on('drain', () => session.drained())
  call.on('cancelled', () => session.cancel())
  call.on('close', () => session.cancel())
  call.on('error', () => session.cancel())
}

function consensusHandlers(service: MonitorService): ConsensusHandlers {
  return {
    Exchange(call, callback) {
      call.on('data', (message) => service.consensus(consensusOf(message)))
      call.on('end', () => callback(null, {}))
      call.on('error', () => call.removeAllListeners('data'))
    },
  }
}
