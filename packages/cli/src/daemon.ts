/** The process of one daemon: `node daemon.js NAME --data DIR [--keyring FILE]`. Started by the supervisor, never by hand. */
import { parseArgs } from 'node:util'
import { ClusterError } from '@shoal/base'
import { createRealEnv, installCrashHandlers } from '@shoal/runtime'
import type { RunningService } from './daemons/context.ts'
import { reportCrashes } from './daemons/crashes.ts'
import { runMonitor } from './daemons/mon.ts'
import { runNbdGateway } from './daemons/nbd.ts'
import { runOsdDaemon } from './daemons/osd.ts'
import { findSpec } from './local/daemon-spec.ts'
import { ClusterLayout } from './local/layout.ts'
import { removeRunFile, writeRunFile } from './local/process-table.ts'
import { programVersion } from './version.ts'

/** A stop that takes longer ends the process anyway; the journal makes that safe. */
const stopTimeoutMs = 15_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { data: { type: 'string' }, keyring: { type: 'string' } },
})
const name = positionals[0] ?? ''
const layout = new ClusterLayout(values.data ?? '')
const cluster = layout.read()
const spec = findSpec(cluster, name)
const env = createRealEnv({
  name,
  logLevel: process.env['SHOAL_LOG_LEVEL'] ?? 'info',
  subsystem: spec.kind === 'nbd' ? '' : spec.kind,
  crashDirectory: layout.crashDirectory,
  version: programVersion,
})
installCrashHandlers(env)

const run = { mon: runMonitor, osd: runOsdDaemon, nbd: runNbdGateway }[spec.kind]

/** The machine's word: no such file, no permission, no room. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && typeof (error as { readonly errno?: unknown }).errno === 'number'
}

let stopping = false
let started: RunningService | undefined
const stop = (): void => {
  if (stopping) return
  stopping = true
  setTimeout(() => process.exit(1), stopTimeoutMs).unref()
  Promise.resolve(started?.stop())
    .catch((error: unknown) => env.log.error('stopping failed', { error: String(error) }))
    .finally(() => {
      removeRunFile(layout, name)
      process.exit(0)
    })
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)

try {
  const context = { env, layout, cluster, name, keyring: values.keyring }
  const service = await run(context)
  started = service
  writeRunFile(layout, {
    name,
    kind: spec.kind,
    address: service.address,
    adminAddress: service.adminAddress,
    dataDirectory: layout.dataDirectory(name),
  })
  reportCrashes(context)
  env.log.info('running', { address: service.address, adminAddress: service.adminAddress })
} catch (error) {
  // What no error of operation explains is a bug, and leaves a report.
  if (!(error instanceof ClusterError) && !isSystemError(error)) env.abort('cannot start', error)
  env.log.error('cannot start', {
    error: error instanceof Error ? error.message : String(error),
    hint: error instanceof ClusterError ? error.hint : undefined,
    stack: error instanceof Error ? error.stack : undefined,
  })
  process.exit(1)
}
