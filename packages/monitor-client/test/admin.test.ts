import { address, ClusterError, type Env } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { type AdminTransport, GrpcAdminTransport, MemoryAdminTransport } from '../src/index.ts'

const timers: Env['timers'] = {
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
  soon: (callback) => setImmediate(callback),
}

const transports: readonly (readonly [string, () => AdminTransport])[] = [
  ['gRPC', () => new GrpcAdminTransport({ timers })],
  ['memory', () => new MemoryAdminTransport()],
]

describe.each(transports)('admin calls over %s', (_name, make) => {
  it('answers, passes errors on with their hints, lists its methods, and is gone once closed', async () => {
    const transport = make()
    const server = await transport.serve(address('127.0.0.1:0'), {
      perf: () => ({ ops: 3 }),
      echo: async (args) => args,
      broken: () => {
        throw new ClusterError('ENOENT', 'no such PG', { hint: 'shoal pg ls' })
      },
    })
    expect(await transport.call(server.address, 'perf')).toEqual({ ops: 3 })
    expect(await transport.call(server.address, 'echo', { deep: [1, { a: 'b' }] })).toEqual({ deep: [1, { a: 'b' }] })
    expect(await transport.call(server.address, 'help')).toEqual({ methods: ['broken', 'echo', 'perf'] })
    await expect(transport.call(server.address, 'broken')).rejects.toMatchObject({
      code: 'ENOENT',
      message: 'no such PG',
      hint: 'shoal pg ls',
    })
    await expect(transport.call(server.address, 'toString')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    await server.close()
    await expect(transport.call(server.address, 'perf', {}, 5_000)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

it('cancels a gRPC call that nobody answers in time', async () => {
  const transport = new GrpcAdminTransport({ timers })
  const server = await transport.serve(address('127.0.0.1:0'), { hang: () => new Promise(() => {}) })
  await expect(transport.call(server.address, 'hang', {}, 50)).rejects.toMatchObject({
    code: 'ETIMEDOUT',
    outcome: 'unknown',
  })
  await server.close()
})
