/** A client that knows the handshake and then says whatever bytes it is told to. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { concatBytes, must, Prng } from '@shoal/base'
import type { MessengerSecurity } from '@shoal/messenger'
import { Handshake } from '../../src/handshake.ts'
import type { Hello } from '../../src/hello.ts'
import { defaultKeyUse, RecordSealer } from '../../src/record.ts'
import { ClusterSecret } from '../../src/secret.ts'

let seed = 1

function handshakeOf(role: 'connecting' | 'accepting', hello: Hello, security: MessengerSecurity): Handshake {
  const { secret, ...offers } = security
  return new Handshake({
    role,
    ours: () => ({ ...hello, ...offers }),
    secret: secret === undefined ? undefined : new ClusterSecret(secret),
    random: new Prng(seed++),
  })
}

export class RawClient {
  readonly socket: Socket
  readonly closed: Promise<unknown>
  private readonly sealer: RecordSealer | undefined

  private constructor(socket: Socket, sealer: RecordSealer | undefined) {
    this.socket = socket
    this.closed = new Promise((resolve) => socket.once('close', resolve))
    this.sealer = sealer
    socket.on('error', () => undefined)
    socket.resume()
  }

  /** Connected, greeted and proven. */
  static async join(port: number, hello: Hello, security: MessengerSecurity): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1')
    const handshake = handshakeOf('connecting', hello, security)
    for (const bytes of handshake.greet()) socket.write(bytes)
    for (;;) {
      const [chunk] = (await once(socket, 'data')) as [Uint8Array]
      const { say, peer } = handshake.receive(chunk)
      for (const bytes of say) socket.write(bytes)
      if (peer !== undefined) break
    }
    const { traffic } = handshake
    return new RawClient(socket, traffic && new RecordSealer(traffic.sending, defaultKeyUse))
  }

  /** Has said its hello and heard the answer; its proof is still to be sent. */
  static async proofFor(
    port: number,
    hello: Hello,
    security: MessengerSecurity,
  ): Promise<{ readonly socket: Socket; readonly hello: Uint8Array; readonly bytes: Uint8Array }> {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    const handshake = handshakeOf('connecting', hello, security)
    const said = must(handshake.greet()[0], 'a hello')
    socket.write(said)
    const [chunk] = (await once(socket, 'data')) as [Uint8Array]
    const bytes = must(handshake.receive(chunk).say[0], 'a proof')
    socket.resume()
    return { socket, hello: said, bytes }
  }

  /** In a record of its own where records are agreed. */
  say(bytes: Uint8Array): void {
    this.socket.write(this.seal(bytes))
  }

  /** As `say` would write it. */
  seal(bytes: Uint8Array): Uint8Array {
    if (this.sealer === undefined) return bytes
    this.sealer.add([bytes])
    return concatBytes(this.sealer.seal())
  }
}
