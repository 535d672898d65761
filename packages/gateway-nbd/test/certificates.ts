/** Certificates for a test, made by openssl: an authority, and what it signed for the server and a client; another's client. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificates {
  readonly directory: string
  /** Directories as libnbd and qemu want them: ca-cert.pem, client-cert.pem, client-key.pem. */
  readonly client: string
  readonly stranger: string
  read(name: string): string
}

async function authority(directory: string): Promise<void> {
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=authority', '-keyout', join(directory, 'ca-key.pem'), '-out', join(directory, 'ca-cert.pem')],
  ])
}

async function signed(directory: string, name: string): Promise<void> {
  const file = (suffix: string): string => join(directory, `${name}-${suffix}`)
  await run('openssl', [
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`],
    ...['-keyout', file('key.pem'), '-out', file('request.pem')],
  ])
  writeFileSync(file('extensions'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
  await run('openssl', [
    ...['x509', '-req', '-in', file('request.pem'), '-CA', join(directory, 'ca-cert.pem'), '-days', '2'],
    ...['-CAkey', join(directory, 'ca-key.pem'), '-CAcreateserial', '-extfile', file('extensions')],
    ...['-out', file('cert.pem')],
  ])
}

export async function makeCertificates(): Promise<Certificates> {
  const directory = mkdtempSync(join(tmpdir(), 'shoal-tls-'))
  const [client, stranger] = [join(directory, 'client'), join(directory, 'stranger')]
  for (const one of [client, stranger]) mkdirSync(one)
  await Promise.all([authority(directory), authority(stranger)])
  for (const [at, name] of [
    [directory, 'server'],
    [directory, 'client'],
    [stranger, 'client'],
  ] as const) {
    await signed(at, name)
  }
  for (const name of ['ca-cert.pem', 'client-cert.pem', 'client-key.pem'])
    cpSync(join(directory, name), join(client, name))
  // The stranger believes the server, and shows what another authority signed.
  cpSync(join(directory, 'ca-cert.pem'), join(stranger, 'ca-cert.pem'))
  return { directory, client, stranger, read: (name) => readFileSync(join(directory, name), 'utf8') }
}
