/**
 * The server's side of TLS on a connection that began without (STARTTLS). Certificates and keys are PEM texts. TLS 1.2 is
 * the least.
 */
import { createSecureContext, createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { assert, type ByteStream, ClusterError } from '@shoal/base'
import { SocketStream } from './real-network.ts'

export interface TlsServerCredentials {
  readonly certificate: string
  readonly key: string
  /** When given, a client must show a certificate that this authority signed. */
  readonly clientAuthority?: string
}

const handshakeTimeoutMs = 20_000

/**
 * What upgrades a stream: afterwards the given stream must not be used, and the returned one is the same connection,
 * encrypted. Rejects with EACCES, and the connection is gone, when the handshake fails. Throws EINVAL for credentials that
 * cannot be used.
 */
export function tlsServer(credentials: TlsServerCredentials): (stream: ByteStream) => Promise<ByteStream> {
  const { certificate, key, clientAuthority } = credentials
  const options: TlsOptions = {
    cert: certificate,
    key,
    minVersion: 'TLSv1.2',
    handshakeTimeout: handshakeTimeoutMs,
    ...(clientAuthority === undefined ? {} : { ca: clientAuthority, requestCert: true, rejectUnauthorized: true }),
  }
  try {
    createSecureContext(options)
  } catch (cause) {
    throw new ClusterError('EINVAL', `cannot use the TLS certificate: ${String(cause)}`, { cause })
  }
  return (stream) => {
    assert(stream instanceof SocketStream, 'TLS is spoken on sockets')
    const socket = stream.detach()
    return new Promise((resolve, reject) => {
      const failed = (error: Error | undefined): void => {
        socket.destroy()
        const reason = error?.message ?? 'the connection was lost'
        reject(new ClusterError('EACCES', `TLS handshake with ${stream.remote}: ${reason}`, { cause: error }))
      }
      // One for each connection: it is what checks the client's certificate, and it never listens.
      createServer(options)
        .once('secureConnection', (secured: TLSSocket) => resolve(new SocketStream(secured, stream.remote)))
        .once('tlsClientError', failed)
        .emit('connection', socket)
      socket.once('close', () => failed(undefined))
    })
  }
}
