/**
 * What every command shares: the global options, the cluster they point to, and connections that are made when first
 * asked for and closed when the command ends.
 */
import { type Address, address, ClusterError, type Env, parseAddress } from '@shoal/base'
import type { ClusterClient } from '@shoal/client'
import type { MessengerSecurity } from '@shoal/messenger'
import type { CommandReply, MonitorClient, MonitorCommand } from '@shoal/monitor-client'
import { ClusterLayout, defaultDataDirectory } from './local/layout.ts'

export interface GlobalOptions {
  readonly data?: string
  readonly monitors?: string
  readonly keyring?: string
  readonly msAuth?: string
  readonly msMode?: string
  readonly format: 'table' | 'json'
  /** Seconds. */
  readonly timeout: number
  readonly verbose?: boolean
}

export class CommandContext {
  readonly options: GlobalOptions
  readonly layout: ClusterLayout
  private environment: Promise<Env> | undefined
  private monitorClient: Promise<MonitorClient> | undefined
  private clusterClient: Promise<ClusterClient> | undefined

  constructor(options: GlobalOptions) {
    this.options = options
    this.layout = new ClusterLayout(options.data ?? defaultDataDirectory())
  }

  get timeoutMs(): number {
    return this.options.timeout * 1000
  }

  monitorAddresses(): readonly Address[] {
    const named = this.options.monitors ?? process.env['SHOAL_MONITORS']
    if (named === undefined || named === '')
      return this.layout.read().monitors.map((monitor) => address(monitor.address))
    return named.split(',').map((text) => {
      if (parseAddress(text) === undefined) {
        throw new ClusterError('EINVAL', `not a monitor address: ${text}`, { hint: '--monitors HOST:PORT,HOST:PORT' })
      }
      return address(text)
    })
  }

  env(): Promise<Env> {
    this.environment ??= import('@shoal/runtime').then(({ createRealEnv }) =>
      createRealEnv({ name: 'client', logLevel: this.options.verbose === true ? 'debug' : 'error' }),
    )
    return this.environment
  }

  /** A session with the monitors. The big imports happen here, so that offline commands start at once. */
  monitor(): Promise<MonitorClient> {
    this.monitorClient ??= this.connectMonitor().catch((error: unknown) => {
      // Monitors that do not answer yet may do so when they are asked again.
      this.monitorClient = undefined
      throw error
    })
    return this.monitorClient
  }

  client(): Promise<ClusterClient> {
    this.clusterClient ??= this.connectClient()
    return this.clusterClient
  }

  async command(command: MonitorCommand): Promise<CommandReply> {
    return (await this.monitor()).command(command, this.timeoutMs)
  }

  /** The result in the form that was asked for. `human` runs only when a person reads. */
  print(data: unknown, human: () => string): void {
    const text = this.options.format === 'json' ? JSON.stringify(data, undefined, 2) : human()
    if (text !== '') process.stdout.write(`${text}\n`)
  }

  /** For commands that change something: what was done, or the reply's data. */
  done(reply: CommandReply): void {
    this.print(reply.data ?? { status: reply.status }, () => reply.status)
  }

  async close(): Promise<void> {
    const client = await this.clusterClient?.catch(() => undefined)
    await client?.close()
    const monitor = await this.monitorClient?.catch(() => undefined)
    await monitor?.close()
  }

  /** What the options say; what they leave out, the cluster's directory says, if it is the cluster that they mean. */
  private async security(): Promise<MessengerSecurity> {
    const { data, keyring, monitors, msAuth, msMode } = this.options
    const elsewhere = data === undefined && (monitors ?? process.env['SHOAL_MONITORS'] ?? '') !== ''
    const { loadSecurity } = await import('./local/keyring.ts')
    const named = keyring ?? process.env['SHOAL_KEYRING']
    const { ms_auth, ms_mode } = elsewhere || !this.layout.exists() ? {} : this.layout.read()
    return loadSecurity({
      keyring: named === '' ? undefined : named,
      defaultKeyring: elsewhere ? undefined : this.layout.keyringFile,
      settings: { ms_auth: msAuth ?? ms_auth, ms_mode: msMode ?? ms_mode },
    })
  }

  /** The cluster's key. Throws EINVAL for a cluster without one. */
  async secret(): Promise<Uint8Array> {
    const { secret } = await this.security()
    if (secret !== undefined) return secret
    throw new ClusterError('EINVAL', 'the keys of stores are sealed with the key of the cluster, and there is none', {
      hint: '--keyring FILE names it',
    })
  }

  private async connectMonitor(): Promise<MonitorClient> {
    const [{ GrpcMonitorClient }, env] = await Promise.all([import('@shoal/monitor-client'), this.env()])
    const client = new GrpcMonitorClient(env, { monitors: this.monitorAddresses(), startTimeoutMs: this.timeoutMs })
    try {
      await client.start()
      return client
    } catch (error) {
      await client.close()
      throw error
    }
  }

  /** A session of its own, which the caller closes. */
  async connectClient(): Promise<ClusterClient> {
    const monitor = await this.monitor()
    const [{ ClusterClient }, env, security] = await Promise.all([import('@shoal/client'), this.env(), this.security()])
    return ClusterClient.connect(env, { monitor, security })
  }
}
