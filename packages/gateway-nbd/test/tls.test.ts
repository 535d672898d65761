/** TLS: off, optional and required; certificates of the server and of clients; with libnbd, qemu and hand-made bytes. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { address } from '@shoal/base'
import { NbdServer, type TlsOffer } from '@shoal/gateway-nbd'
import { createRealEnv, tlsServer } from '@shoal/runtime'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Certificates, makeCertificates } from './certificates.ts'
import { MemoryDevice, memoryExports } from './memory-device.ts'
import { command, option, RawClient, reply } from './raw-client.ts'

const run = promisify(execFile)
const mebibyte = 1024 * 1024

let certificates: Certificates
let server: NbdServer
let disk: MemoryDevice
let port: number

beforeAll(async () => {
  certificates = await makeCertificates()
})
afterAll(() => rmSync(certificates.directory, { recursive: true }))
afterEach(() => server.close())

async function serve(mode: TlsOffer['mode'] | 'off', options: { readonly clients?: boolean } = {}): Promise<void> {
  disk = new MemoryDevice(8 * mebibyte)
  const credentials = {
    certificate: certificates.read('server-cert.pem'),
    key: certificates.read('server-key.pem'),
    ...(options.clients === true ? { clientAuthority: certificates.read('ca-cert.pem') } : {}),
  }
  server = new NbdServer(
    createRealEnv({ name: 'nbd-test', logLevel: 'error' }),
    memoryExports({ 'pool/disk': disk }),
    mode === 'off' ? {} : { tls: { mode, accept: tlsServer(credentials) } },
  )
  port = Number((await server.listen(address('127.0.0.1:0'))).split(':')[1])
}

const plainUrl = (): string => `nbd://127.0.0.1:${port}/pool/disk`
const secureUrl = (directory = certificates.client): string =>
  `nbds://127.0.0.1:${port}/pool/disk?tls-certificates=${directory}`

function qemuImg(verb: string, ...more: readonly string[]): Promise<{ readonly stdout: string }> {
  return run('qemu-img', [
    ...[verb, '--object', `tls-creds-x509,id=tls0,endpoint=client,dir=${certificates.client}`, ...more],
    ...['--image-opts', `driver=nbd,host=127.0.0.1,port=${port},export=pool/disk,tls-creds=tls0`],
  ])
}

/** The same client, over TLS from here on. */
async function startTls(client: RawClient): Promise<RawClient> {
  await client.expectAck(option.startTls)
  const { socket } = client
  socket.removeAllListeners('data')
  const secured = connectTls({ socket, ca: certificates.read('ca-cert.pem'), servername: 'localhost' })
  await once(secured, 'secureConnect')
  return new RawClient(secured)
}

describe('required', () => {
  test('libnbd and qemu work over it; without it nothing is told', async () => {
    await serve('required')
    const { stdout } = await run('nbdinfo', ['--json', secureUrl()])
    expect(JSON.parse(stdout)).toMatchObject({ TLS: true, exports: [{ 'export-size': 8 * mebibyte }] })
    await expect(run('nbdinfo', [plainUrl()])).rejects.toThrow(/Operation not supported/)
    await expect(run('nbdinfo', ['--list', `nbd://127.0.0.1:${port}`])).rejects.toThrow(/not supported|policy|refused/)
    await disk.write(mebibyte, new Uint8Array(mebibyte).fill(5))
    const map = JSON.parse((await qemuImg('map', '--output=json')).stdout) as { start: number; data: boolean }[]
    expect(map.filter(({ data }) => data).map(({ start }) => start)).toEqual([mebibyte])
    expect((await qemuImg('info')).stdout).toContain('8 MiB')
  })

  test('copies much, in order and unchanged', async () => {
    await serve('required')
    for (let at = 0; at < disk.sizeBytes; at += 65_536) await disk.write(at, new Uint8Array(65_536).fill(at / 65_536))
    const before = disk.bytes.slice()
    const target = new MemoryDevice(disk.sizeBytes)
    const plain = new NbdServer(createRealEnv({ name: 'plain', logLevel: 'error' }), memoryExports({ '': target }))
    const other = await plain.listen(address('127.0.0.1:0'))
    await run('nbdcopy', ['--connections=2', secureUrl(), `nbd://${other}`])
    expect(Buffer.compare(target.bytes, before)).toBe(0)
    disk.bytes.fill(0)
    await run('nbdcopy', ['--connections=2', `nbd://${other}`, secureUrl()])
    expect(Buffer.compare(disk.bytes, before)).toBe(0)
    await plain.close()
  })

  test('every option but two is answered by what is required; EXPORT_NAME is hung up on', async () => {
    await serve('required')
    const client = await RawClient.open(port)
    await client.greet()
    for (const code of [option.list, option.structuredReply, option.extendedHeaders, 4711]) {
      expect((await client.ask(code)).map(({ type }) => type)).toEqual([reply.tlsRequired])
    }
    expect((await client.askGo('pool/nothing')).at(-1)?.type).toBe(reply.tlsRequired)
    expect((await client.ask(option.startTls, Buffer.from('x'))).at(-1)?.type).toBe(reply.invalid)
    await client.expectAck(option.abort)
    await client.closed()
    const oldest = await RawClient.open(port)
    await oldest.greet()
    oldest.option(option.exportName, Buffer.from('pool/disk'))
    await oldest.closed()
  })
})

describe('optional', () => {
  test('both ways work, and what was agreed on before TLS is forgotten', async () => {
    await serve('optional')
    expect(JSON.parse((await run('nbdinfo', ['--json', plainUrl()])).stdout)).toMatchObject({ TLS: false })
    expect(JSON.parse((await run('nbdinfo', ['--json', secureUrl()])).stdout)).toMatchObject({ TLS: true })
    const plain = await RawClient.open(port)
    await plain.greet()
    await plain.expectAck(option.structuredReply)
    const client = await startTls(plain)
    expect((await client.ask(option.startTls)).at(-1)?.type).toBe(reply.invalid)
    await client.go()
    client.request(command.read, 0, 4)
    expect(await client.simpleError()).toBe(0)
    client.socket.destroy()
  })

  test('what comes between STARTTLS and its answer ends the connection', async () => {
    await serve('optional')
    const client = await RawClient.open(port)
    await client.greet()
    client.socket.cork()
    client.option(option.startTls)
    client.option(option.structuredReply)
    client.socket.uncork()
    await client.closed()
  })

  test('a handshake that is none ends the connection', async () => {
    await serve('optional')
    const client = await RawClient.open(port)
    await client.greet()
    await client.expectAck(option.startTls)
    client.socket.write('this is not TLS at all, whatever you may think of it')
    await client.closed()
    await expect.poll(() => server.counters.connections).toBe(0)
  })
})

test('off: STARTTLS is refused by policy, and the handshake goes on', async () => {
  await serve('off')
  const client = await RawClient.open(port)
  await client.greet()
  expect((await client.ask(option.startTls)).at(-1)?.type).toBe(reply.policy)
  await client.go()
  client.socket.destroy()
  await expect(run('nbdinfo', [secureUrl()])).rejects.toThrow(/connection is closed/)
})

test('clients must show a certificate of the authority that was named', async () => {
  await serve('required', { clients: true })
  expect(JSON.parse((await run('nbdinfo', ['--json', secureUrl()])).stdout)).toMatchObject({ TLS: true })
  await expect(run('nbdinfo', [secureUrl(certificates.stranger)])).rejects.toThrow()
  const client = await RawClient.open(port)
  await client.greet()
  const bare = await startTls(client)
  await bare.closed()
  await expect.poll(() => server.counters.connections).toBe(0)
})

test('credentials that cannot be used are refused at once', () => {
  expect(() => tlsServer({ certificate: 'nothing', key: 'nothing' })).toThrow(/cannot use the TLS certificate/)
})
