/** The monitor client of production: hunting, over gRPC. */
import type { Env } from '@shoal/base'
import { GrpcMonitorTransport } from './grpc/grpc-monitor-transport.ts'
import { HuntingMonitorClient, type MonitorClientOptions } from './hunting-client.ts'

export class GrpcMonitorClient extends HuntingMonitorClient {
  constructor(env: Env, options: MonitorClientOptions) {
    super(env, new GrpcMonitorTransport(env), options)
  }
}
