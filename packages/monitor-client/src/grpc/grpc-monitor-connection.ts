/** One monitor over one gRPC channel: the caller's end of `protos/monitor.proto`. */
import { type Client, credentials } from '@grpc/grpc-js'
import { type Address, ClusterError, type Env, type Epoch } from '@shoal/base'
import type { CommandReply__Output } from '../generated/shoal/monitor/v1/CommandReply.ts'
import type { ConsensusClient } from '../generated/shoal/monitor/v1/Consensus.ts'
import type { GetOsdMapReply__Output } from '../generated/shoal/monitor/v1/GetOsdMapReply.ts'
import type { MonitorClient as MonitorStub } from '../generated/shoal/monitor/v1/Monitor.ts'
import type { ReportReply__Output } from '../generated/shoal/monitor/v1/ReportReply.ts'
import type { CommandReply } from '../monitor-client.ts'
import type {
  CommandRequest,
  ConsensusMessage,
  ConsensusStream,
  MonitorConnection,
  Report,
  SubscribeRequest,
  SubscriptionHandler,
} from '../transport.ts'
import { clusterErrorOf, unaryCall } from './calls.ts'
import { channelOptions, monitorContract } from './contracts.ts'
import { commandReplyFrom, commandRequestMessage, failureFrom, mapUpdateFrom, reportMessage } from './messages.ts'

/** Consensus messages that wait for a slow peer; more are dropped, for Raft repeats what matters. */
const consensusQueueMax = 256

export class GrpcMonitorConnection implements MonitorConnection {
  private readonly env: Pick<Env, 'timers'>
  private readonly monitor: MonitorStub
  private readonly consensus: ConsensusClient

  constructor(env: Pick<Env, 'timers'>, address: Address) {
    this.env = env
    const contract = monitorContract()
    this.monitor = new contract.Monitor(address, credentials.createInsecure(), channelOptions)
    const channel = (this.monitor as Client).getChannel()
    this.consensus = new contract.Consensus(address, credentials.createInsecure(), { channelOverride: channel })
  }

  async command(request: CommandRequest): Promise<CommandReply> {
    const reply = await unaryCall<CommandReply__Output>(this.env, request.timeoutMs, (callback) =>
      this.monitor.command(commandRequestMessage(request), callback),
    )
    if (reply.failure !== null) throw failureFrom(reply.failure)
    return commandReplyFrom(reply)
  }

  async report(reports: readonly Report[], forwarded: boolean, timeoutMs: number): Promise<void> {
    const reply = await unaryCall<ReportReply__Output>(this.env, timeoutMs, (callback) =>
      this.monitor.report({ reports: reports.map(reportMessage), forwarded }, callback),
    )
    if (reply.failure !== null) throw failureFrom(reply.failure)
  }

  async osdMap(epoch: Epoch, timeoutMs: number): Promise<Uint8Array> {
    const reply = await unaryCall<GetOsdMapReply__Output>(this.env, timeoutMs, (callback) =>
      this.monitor.getOsdMap({ epoch }, callback),
    )
    if (reply.failure !== null) throw failureFrom(reply.failure)
    return reply.osdMap
  }

  subscribe(request: SubscribeRequest, handler: SubscriptionHandler): { cancel(): void } {
    const stream = this.monitor.subscribe(request)
    let over = false
    const end = (reason: ClusterError) => {
      if (over) return
      over = true
      stream.cancel()
      handler.onEnd(reason)
    }
    stream.on('data', (message) => {
      if (over) return
      if (message.failure !== null) end(failureFrom(message.failure))
      else handler.onUpdate(mapUpdateFrom(message))
    })
    stream.on('error', (error) => end(clusterErrorOf(error)))
    stream.on('end', () => end(new ClusterError('ECONNRESET', 'the monitor ended the subscription', { retry: true })))
    return {
      cancel() {
        over = true
        stream.cancel()
      },
    }
  }

  openConsensus(onEnd: (reason: ClusterError) => void): ConsensusStream {
    let over = false
    const stream = this.consensus.exchange((error) => {
      if (over) return
      over = true
      onEnd(clusterErrorOf(error))
    })
    // The callback above tells the owner; without a listener Node would take the same error for an uncaught one.
    stream.on('error', () => undefined)
    return {
      send(message: ConsensusMessage): boolean {
        if (over || stream.writableLength >= consensusQueueMax) return false
        stream.write(message)
        return true
      },
      close() {
        over = true
        stream.cancel()
      },
    }
  }

  close(): void {
    this.monitor.close()
  }
}
