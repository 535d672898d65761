// Brings a checkout to the state in which its programs can run: dependencies as the lockfile says, sources compiled.
// Needs only Node and npm; pnpm itself comes through npx at the version that package.json names.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { currentBuild, whileNobodyLoads } from './build-lock.mjs'
import { root } from './root.mjs'

export { root } from './root.mjs'

/** Runs a program in the root with our terminal; ends this process with its exit code unless it succeeded. */
export function run(command, args, options = {}) {
  const { quiet = false, ...rest } = options
  const result = spawnSync(command, args, { cwd: root, stdio: quiet ? 'pipe' : 'inherit', ...rest })
  if (result.error !== undefined) throw result.error
  if (result.status === 0) return
  if (quiet) process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
  process.stderr.write(`${command} ${args.join(' ')}: exit code ${result.status ?? result.signal}\n`)
  process.exit(result.status ?? 1)
}

function installed() {
  const stamp = join(root, 'node_modules', '.modules.yaml')
  return existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(join(root, 'pnpm-lock.yaml')).mtimeMs
}

/** Compiles what has changed. Nothing is locked when nothing has. */
export function build() {
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const plan = spawnSync(tsc, ['-b', '--dry'], { cwd: root, encoding: 'utf8' })
  const isCurrent = plan.status === 0 && !plan.stdout.includes('A non-dry build would')
  if (!isCurrent || currentBuild() !== undefined) whileNobodyLoads(() => run(tsc, ['-b']))
}

export function prepare() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) {
    process.stderr.write(`Shoal needs Node 20.19 or newer; this is ${process.versions.node}\n`)
    process.exit(1)
  }
  if (!installed()) {
    const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    process.stderr.write('installing dependencies ...\n')
    run('npx', ['--yes', packageManager, 'install', '--frozen-lockfile', '--config.confirmModulesPurge=false'], {
      quiet: true,
    })
  }
  build()
}
