/**
 * Nobody runs modules of two builds at once. A checkout in a temporary directory has our scripts, a command of two modules
 * that must agree, and a compiler that writes them half a second apart.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const checkout = join(import.meta.dirname, '..', '..', '..')

/** Compiles `source` (a word) into two modules; `--dry` says whether that is needed. */
const compiler = `#!/usr/bin/env node
const { existsSync, readFileSync, writeFileSync } = require('node:fs')
const word = readFileSync('source', 'utf8')
const first = 'packages/cli/dist/first.js', main = 'packages/cli/dist/main.js'
if (process.argv.includes('--dry')) {
  const isCurrent = existsSync(main) && readFileSync(main, 'utf8').includes(word) && readFileSync(first, 'utf8').includes(word)
  console.log(isCurrent ? 'is up to date' : 'A non-dry build would build project')
} else {
  writeFileSync(first, 'export default "' + word + '"')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  const load = 'await new Promise((r) => setTimeout(r, Number(process.env.SLOW ?? 0)))'
  writeFileSync(main, load + '; console.log("' + word + '", (await import("./first.js")).default)')
}
`

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'shoal-build-'))
  cpSync(join(checkout, 'scripts'), join(root, 'scripts'), { recursive: true })
  for (const directory of ['node_modules/.bin', 'packages/cli/dist']) {
    mkdirSync(join(root, directory), { recursive: true })
  }
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(root, 'node_modules', '.bin', 'package.json'), '{ "type": "commonjs" }')
  writeFileSync(join(root, 'pnpm-lock.yaml'), '')
  writeFileSync(join(root, 'node_modules', '.modules.yaml'), '')
  writeFileSync(join(root, 'node_modules', '.bin', 'tsc'), compiler)
  chmodSync(join(root, 'node_modules', '.bin', 'tsc'), 0o755)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const source = (word: string): void => writeFileSync(join(root, 'source'), word)
const build = (): ChildProcess => spawn(process.execPath, [join(root, 'scripts', 'build.mjs')], { stdio: 'inherit' })
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function node(words: readonly string[], slowMs = 0): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, SLOW: String(slowMs) }
    execFile(process.execPath, [...words], { env }, (error, stdout, stderr) =>
      error === null ? resolve(stdout.trim()) : reject(new Error(stderr)),
    )
  })
}

const command = (slowMs = 0): Promise<string> => node([join(root, 'scripts', 'shoal')], slowMs)
const daemon = (): Promise<string> =>
  node([
    '--import',
    join(root, 'scripts', 'lib', 'settled-build.mjs'),
    join(root, 'packages', 'cli', 'dist', 'main.js'),
  ])

async function isWriting(): Promise<void> {
  while (!existsSync(join(root, 'dist', 'build.lock'))) await pause(5)
  while (readFileSync(join(root, 'packages', 'cli', 'dist', 'first.js'), 'utf8').includes('old')) await pause(5)
}

async function builtOld(): Promise<void> {
  source('old')
  await once(build(), 'exit')
  expect(await command()).toBe('old old')
  source('new')
}

test('a command and a daemon that start during a build wait for its end', async () => {
  await builtOld()
  const building = build()
  await isWriting()
  expect(await Promise.all([command(), daemon()])).toEqual(['new new', 'new new'])
  if (building.exitCode === null) await once(building, 'exit')
})

test('a build waits for a command that is still loading', async () => {
  await builtOld()
  const slow = command(700)
  while (!existsSync(join(root, 'dist', 'loading'))) await pause(5)
  await pause(150)
  await once(build(), 'exit')
  expect(await slow).toBe('old old')
  expect(await command()).toBe('new new')
})

test('two builds at once follow each other', async () => {
  await builtOld()
  const builds = [build(), build()].map((one) => once(one, 'exit'))
  expect((await Promise.all(builds)).map(([code]) => code as number)).toEqual([0, 0])
  expect(await command()).toBe('new new')
})

test('a build that was killed is finished by the next command', async () => {
  await builtOld()
  const building = build()
  await isWriting()
  building.kill('SIGKILL')
  await once(building, 'exit')
  // Its compiler dies with it or not; either way nobody sees two halves.
  expect(await command()).toBe('new new')
  expect(existsSync(join(root, 'dist', 'build.lock'))).toBe(false)
})
