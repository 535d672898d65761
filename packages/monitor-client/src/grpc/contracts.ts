/**
 * Loads the contracts in `protos/`. The folder lies at the root of the checkout, at the same distance from this file's
 * source and from its compiled form. Loading is done once per process and contract.
 */
import { fileURLToPath } from 'node:url'
import { type GrpcObject, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { ProtoGrpcType as AdminContract } from '../generated/admin.ts'
import type { ProtoGrpcType as MonitorContract } from '../generated/monitor.ts'

/** Options that the checked-in generated types assume; `generate` in package.json names the same ones. */
const loaderOptions = { longs: Number, enums: String, defaults: true, arrays: true, oneofs: true } as const

/** Maps of large clusters do not fit gRPC's default of 4 MiB. */
const messageBytesMax = 64 * 1024 * 1024

/**
 * Keepalive finds a peer whose machine or process froze; an idle channel costs one ping per ten seconds. The proxy
 * variables of the environment are not for traffic inside a cluster.
 */
export const channelOptions: Readonly<Record<string, number>> = {
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.enable_http_proxy': 0,
  'grpc.use_local_subchannel_pool': 1,
}

export const serverOptions: Readonly<Record<string, number>> = {
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
  'grpc.max_concurrent_streams': 1024,
}

function load(file: string): GrpcObject {
  const path = fileURLToPath(new URL(`../../../../protos/${file}`, import.meta.url))
  return loadPackageDefinition(loadSync(path, loaderOptions))
}

let admin: AdminContract['shoal']['admin']['v1'] | undefined
let monitor: MonitorContract['shoal']['monitor']['v1'] | undefined

export function adminContract(): AdminContract['shoal']['admin']['v1'] {
  admin ??= (load('admin.proto') as unknown as AdminContract).shoal.admin.v1
  return admin
}

export function monitorContract(): MonitorContract['shoal']['monitor']['v1'] {
  monitor ??= (load('monitor.proto') as unknown as MonitorContract).shoal.monitor.v1
  return monitor
}
