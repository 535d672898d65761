/**
 * What every gRPC call and server here shares: deadlines by the Env's timers, failures as ClusterErrors, listening on an
 * address. A call that never left this machine failed with `not-applied`; any other broken call has an unknown outcome.
 */
import {
  type ClientUnaryCall,
  type requestCallback,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { type Address, address as asAddress, ClusterError, type Env, type ErrorCode, parseAddress } from '@shoal/base'

/** Runs a unary call and cancels it after `timeoutMs`. */
export function unaryCall<Reply>(
  env: Pick<Env, 'timers'>,
  timeoutMs: number,
  start: (callback: requestCallback<Reply>) => ClientUnaryCall,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let timedOut = false
    const call = start((error, reply) => {
      timer.cancel()
      if (error === null && reply !== undefined) resolve(reply)
      else reject(timedOut ? timeoutError(timeoutMs) : clusterErrorOf(error))
    })
    const timer = env.timers.after(timeoutMs, () => {
      timedOut = true
      call.cancel()
    })
  })
}

function timeoutError(timeoutMs: number): ClusterError {
  return new ClusterError('ETIMEDOUT', `no answer within ${timeoutMs} ms`, { retry: true, outcome: 'unknown' })
}

/** gRPC's own failures: the peer is away, the stream broke, the message was malformed. */
export function clusterErrorOf(error: ServiceError | Error | null): ClusterError {
  const code = error !== null && 'code' in error ? error.code : status.UNKNOWN
  const text = error === null ? 'the call ended without a reply' : error.message
  const mapped = codeOfStatus(code)
  return new ClusterError(mapped, text, {
    retry: mapped !== 'EOPNOTSUPP' && mapped !== 'EBADMSG' && mapped !== 'E2BIG',
    outcome: mapped === 'ECONNREFUSED' || mapped === 'EOPNOTSUPP' ? 'not-applied' : 'unknown',
    ...(error === null ? {} : { cause: error }),
  })

  function codeOfStatus(grpcStatus: status): ErrorCode {
    if (grpcStatus === status.UNAVAILABLE) return /ECONNREFUSED|EHOSTUNREACH/.test(text) ? 'ECONNREFUSED' : 'ECONNRESET'
    if (grpcStatus === status.DEADLINE_EXCEEDED) return 'ETIMEDOUT'
    if (grpcStatus === status.CANCELLED) return 'ECANCELED'
    if (grpcStatus === status.UNIMPLEMENTED) return 'EOPNOTSUPP'
    if (grpcStatus === status.RESOURCE_EXHAUSTED) return 'E2BIG'
    if (grpcStatus === status.INTERNAL) return 'EBADMSG'
    return 'EIO'
  }
}

/** Any thrown value as a ClusterError, for replies: what a handler did not foresee reads as EIO. */
export function failureOf(error: unknown): ClusterError {
  if (error instanceof ClusterError) return error
  return new ClusterError('EIO', error instanceof Error ? error.message : String(error), { cause: error })
}

export interface GrpcServer {
  /** With the port that was given for port 0. */
  readonly address: Address
  /** Ends streams, answers no more calls; resolves when the port is free. */
  close(): Promise<void>
}

/** Binds all services to one port. Rejects with EINVAL for a malformed address, EBUSY when it is taken. */
export async function serveGrpc(
  services: readonly (readonly [ServiceDefinition, UntypedServiceImplementation])[],
  address: Address,
  options: Readonly<Record<string, string | number>>,
): Promise<GrpcServer> {
  const endpoint = parseAddress(address)
  if (endpoint === undefined) {
    throw new ClusterError('EINVAL', `'${address}' is no address`, { hint: 'write HOST:PORT, e.g. 127.0.0.1:6789' })
  }
  const server = new Server(options)
  for (const [definition, implementation] of services) server.addService(definition, implementation)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound)
      else reject(new ClusterError('EBUSY', `cannot listen on ${address}: ${error.message}`, { cause: error }))
    })
  })
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host
  return {
    address: asAddress(`${host}:${port}`),
    async close() {
      server.forceShutdown()
      await Promise.resolve()
    },
  }
}
