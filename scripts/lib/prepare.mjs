// Brings a checkout to the state in which its programs can run: dependencies as the lockfile says, sources compiled.
// Needs only Node and npm; pnpm itself comes through npx at the version that package.json names.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

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
  run(join(root, 'node_modules', '.bin', 'tsc'), ['-b'])
}
