/**
 * Where the gateway's images come from: one client of the cluster for all of them. When that client has been fenced, everything
 * that it had open is lost, and what is opened from then on is opened with a new client: the old one never writes again.
 */
import { ClusterError, type Env, isClusterError } from '@shoal/base'
import { type ChannelIo, type Fencer, ImageSession, ImageStore } from '@shoal/block'

/** The part of a cluster's client that is needed; `ClusterClient` is one. */
export interface GatewayClient extends Fencer {
  pool(name: string): ChannelIo & { withTimeout(timeoutMs: number): ChannelIo }
  close(): Promise<void>
}

export interface ImageSource {
  /** ENOENT for a pool that does not exist. */
  store(pool: string): Promise<ImageStore>
  /** Ready for I/O beside others who have the image open. */
  open(pool: string, image: string): Promise<ImageSession>
}

export interface ClusterImagesOptions {
  readonly env: Pick<Env, 'clock' | 'timers' | 'random' | 'log'>
  /** A new session with the cluster; closed here when it is of no use any more. */
  readonly connect: () => Promise<GatewayClient>
  /** Locks are taken when an image is opened, and not given to others while it is. */
  readonly exclusive?: boolean
  /** For people who look at locks. */
  readonly description?: string
  /** A request waits no longer than this for the cluster, or for the lock; then it fails. 2 minutes when left out. */
  readonly timeoutMs?: number
}

const timeoutMsDefault = 120_000

/** A client, and how many images are open with it. */
interface Connection {
  readonly client: GatewayClient
  users: number
  isRetired: boolean
}

export class ClusterImages implements ImageSource {
  private readonly options: ClusterImagesOptions
  private current: Promise<Connection> | undefined

  constructor(options: ClusterImagesOptions) {
    this.options = options
  }

  store(pool: string): Promise<ImageStore> {
    return this.withConnection(async ({ client }) => new ImageStore(this.options.env, this.poolOf(client, pool)))
  }

  open(pool: string, name: string): Promise<ImageSession> {
    return this.withConnection(async (connection) => {
      const { env, exclusive, description, timeoutMs = timeoutMsDefault } = this.options
      const io = this.poolOf(connection.client, pool)
      const image = await new ImageStore(env, io).open(name)
      const session = await ImageSession.open(image, {
        env,
        io,
        fencer: connection.client,
        lockTimeoutMs: timeoutMs,
        exclusive,
        description,
      })
      connection.users++
      session.onClosed = () => {
        connection.users--
        this.closeUnused(connection)
      }
      session.onEnded = (error) => {
        if (isClusterError(error.cause, 'ESHUTDOWN')) this.retire(connection)
      }
      return session
    })
  }

  /** Once nothing is open any more. */
  async close(): Promise<void> {
    const connection = await this.current?.catch(() => undefined)
    this.current = undefined
    await connection?.client.close()
  }

  private poolOf(client: GatewayClient, pool: string): ChannelIo {
    return client.pool(pool).withTimeout(this.options.timeoutMs ?? timeoutMsDefault)
  }

  /** A client that turns out to be fenced is replaced, once. */
  private async withConnection<T>(task: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.connection()
    try {
      return await task(connection)
    } catch (error) {
      if (!isClusterError(error, 'ESHUTDOWN')) throw error
      this.retire(connection)
      return task(await this.connection())
    }
  }

  private connection(): Promise<Connection> {
    if (this.current === undefined) {
      const connecting = this.options.connect().then((client) => ({ client, users: 0, isRetired: false }))
      connecting.catch(() => {
        if (this.current === connecting) this.current = undefined
      })
      this.current = connecting
    }
    return this.current
  }

  private retire(connection: Connection): void {
    if (connection.isRetired) return
    connection.isRetired = true
    this.current = undefined
    this.options.env.log.warn('this gateway was fenced: what it has open is lost, and opened anew by a new session', {
      session: connection.client.session,
    })
    this.closeUnused(connection)
  }

  private closeUnused({ client, users, isRetired }: Connection): void {
    if (!isRetired || users > 0) return
    client.close().catch((error: unknown) => {
      if (!(error instanceof ClusterError)) throw error
      this.options.env.log.warn('closing a fenced session failed', { error: error.message })
    })
  }
}
