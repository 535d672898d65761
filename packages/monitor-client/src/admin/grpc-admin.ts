/** Admin calls over gRPC (`protos/admin.proto`). A channel lives for one call: these are calls by people and scripts. */
import { credentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { type Address, ClusterError, type Env, type ErrorCode, errorTable } from '@shoal/base'
import type { AdminHandlers as AdminService } from '../generated/shoal/admin/v1/Admin.ts'
import type { AdminReply, AdminReply__Output } from '../generated/shoal/admin/v1/AdminReply.ts'
import { failureOf, serveGrpc, unaryCall } from '../grpc/calls.ts'
import { adminContract, channelOptions, serverOptions } from '../grpc/contracts.ts'
import { type AdminHandlers, type AdminServer, type AdminTransport, adminTimeoutMs, answerAdmin } from './admin.ts'

type Arguments = Readonly<Record<string, unknown>>

export class GrpcAdminTransport implements AdminTransport {
  private readonly env: Pick<Env, 'timers'>

  constructor(env: Pick<Env, 'timers'>) {
    this.env = env
  }

  serve(address: Address, handlers: AdminHandlers): Promise<AdminServer> {
    return serveGrpc([adminService(handlers)], address, serverOptions)
  }

  async call(
    address: Address,
    method: string,
    args: Arguments = {},
    timeoutMs: number = adminTimeoutMs,
  ): Promise<unknown> {
    const { Admin } = adminContract()
    const client = new Admin(address, credentials.createInsecure(), channelOptions)
    try {
      const request = { method, argumentsJson: JSON.stringify(args) }
      const reply = await unaryCall<AdminReply__Output>(this.env, timeoutMs, (callback) =>
        client.call(request, callback),
      )
      if (reply.failure !== null) throw thrown(reply.failure)
      return JSON.parse(reply.resultJson)
    } finally {
      client.close()
    }
  }
}

/** The service and its implementation, for servers that share one port among several services. */
export function adminService(handlers: AdminHandlers): readonly [ServiceDefinition, UntypedServiceImplementation] {
  const service: AdminService = {
    Call(call, callback) {
      answer(handlers, call.request.method, call.request.argumentsJson).then(
        (reply) => callback(null, reply),
        (error: Error) => callback(error),
      )
    },
  }
  return [adminContract().Admin.service, service]
}

async function answer(handlers: AdminHandlers, method: string, argumentsJson: string): Promise<AdminReply> {
  try {
    return { resultJson: JSON.stringify(await answerAdmin(handlers, method, parseArguments(argumentsJson))) }
  } catch (error) {
    const { code, message, hint } = failureOf(error)
    return { failure: { code, message, hint: hint ?? '' } }
  }
}

function parseArguments(json: string): Arguments {
  let value: unknown
  try {
    value = json === '' ? {} : JSON.parse(json)
  } catch (cause) {
    throw new ClusterError('EINVAL', 'the arguments are not JSON', { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ClusterError('EINVAL', 'the arguments must be a JSON object')
  }
  return value as Arguments
}

function thrown(failure: { readonly code: string; readonly message: string; readonly hint: string }): ClusterError {
  const code = (Object.hasOwn(errorTable, failure.code) ? failure.code : 'EIO') as ErrorCode
  return new ClusterError(code, failure.message, failure.hint === '' ? {} : { hint: failure.hint })
}

/** Serves the table over gRPC; port 0 picks a free one. */
export function serveAdmin(env: Pick<Env, 'timers'>, address: Address, handlers: AdminHandlers): Promise<AdminServer> {
  return new GrpcAdminTransport(env).serve(address, handlers)
}

/** One call over gRPC: `callAdmin(env, address, 'perf')`. */
export function callAdmin(
  env: Pick<Env, 'timers'>,
  address: Address,
  method: string,
  args: Arguments = {},
  timeoutMs: number = adminTimeoutMs,
): Promise<unknown> {
  return new GrpcAdminTransport(env).call(address, method, args, timeoutMs)
}
