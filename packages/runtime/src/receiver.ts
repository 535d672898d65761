/**
 * Where the bytes of sockets are received: one piece of memory for all of them. A read, and the call that hands on what it
 * brought, are one step of the event loop. A buffer for each read, as streams have it, would be garbage at once: outside the
 * heap, where a gigabyte a second of it keeps the collector marking all that lives.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { must } from '@shoal/base'

/** As much as a socket's own buffer holds for the most part, and little enough to stay in the processor's cache. */
const receivedBytesMax = 128 * 1024
const received = new Uint8Array(receivedBytesMax)

export class Receiver {
  /** The chunk is only lent. */
  onChunk: ((chunk: Uint8Array) => void) | undefined
  readonly onread: OnReadOpts = {
    buffer: received,
    callback: (sizeBytes) => {
      this.onChunk?.(received.subarray(0, sizeBytes))
      return true
    },
  }

  /**
   * The same connection as a socket that reads here: a server makes its sockets without asking how. It is paused, and `accepted`
   * is not to be used any more.
   */
  adopt(accepted: Socket): Socket {
    // Node passes handles between sockets likewise, between processes; the type does not show them.
    const owner = accepted as unknown as { _handle: unknown }
    // Without one the new socket would be connected to nothing, and its peer wait for ever.
    const handle = must(owner._handle, 'the handle of a socket, where this Node is to keep it')
    const options = { handle, onread: this.onread, pauseOnCreate: true }
    owner._handle = null
    const socket = new Socket(options as SocketConstructorOpts)
    // Its server counts the one that it made.
    socket.once('close', () => accepted.destroy())
    return socket
  }
}
