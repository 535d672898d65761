/**
 * The house of DESIGN section 2, held against the code: every import points to the same row or down, row members are
 * acyclic, pure rows reach for nothing ambient, manifests say what the sources use.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const packagesDirectory = join(import.meta.dirname, '..', '..')

const rows: Readonly<Record<string, number>> = {
  base: 0,
  crush: 1,
  erasure: 1,
  'image-streams': 1,
  raft: 1,
  'cluster-map': 1,
  wire: 1,
  'placement-group': 1,
  runtime: 2,
  messenger: 2,
  'object-store': 2,
  'monitor-client': 2,
  monitor: 3,
  osd: 3,
  client: 3,
  block: 3,
  'gateway-nbd': 4,
  cli: 5,
  testkit: 9,
  simulator: 9,
  e2e: 9,
}
const aside = 9
const pureRow = 1

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

function sources(directory: string): readonly string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('generated'))
    .map((name) => join(directory, name))
}

/** Comments and strings that only mention an API are not uses of it. */
function code(file: string): string {
  return readFileSync(file, 'utf8')
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/(^|\s)\/\/.*$/gm, '')
}

function imports(file: string): readonly string[] {
  return [...code(file).matchAll(/(?:from|import)\s*\(?\s*'([@.\w][^'\s(),]*)'/g)].map((match) => match[1] as string)
}

/** What `node:crypto` computes from its arguments alone; keys and nonces come from `Env`. */
const deterministicCrypto: ReadonlySet<string> = new Set([
  'createCipheriv',
  'createDecipheriv',
  'createHash',
  'createHmac',
  'createPrivateKey',
  'createPublicKey',
  'createSecretKey',
  'diffieHellman',
  'hkdfSync',
  'timingSafeEqual',
])

/** Names from `node:crypto`, types aside; the whole module counts as one that is not allowed. */
function cryptoImports(file: string): readonly string[] {
  return [...code(file).matchAll(/import\s+([^;'"]*?)\s*from\s*'node:crypto'/g)].flatMap((match) => {
    const list = /^\{([^}]*)\}$/.exec(match[1] as string)?.[1]
    if (list === undefined) return ['*']
    return list
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '' && !name.startsWith('type '))
  })
}

const names = readdirSync(packagesDirectory)
const manifests = new Map(
  names.map((name) => [
    name,
    JSON.parse(readFileSync(join(packagesDirectory, name, 'package.json'), 'utf8')) as Manifest,
  ]),
)

function shoalDependencies(name: string): readonly string[] {
  return Object.keys(manifests.get(name)?.dependencies ?? {})
    .filter((dependency) => dependency.startsWith('@shoal/'))
    .map((dependency) => dependency.slice('@shoal/'.length))
}

test('every package has a row', () => {
  expect(names.toSorted()).toEqual(Object.keys(rows).toSorted())
})

describe.each(names)('%s', (name) => {
  const row = rows[name] as number
  const files = sources(join(packagesDirectory, name, 'src'))

  test('depends only on its own row and the rows below', () => {
    for (const dependency of shoalDependencies(name)) {
      expect(rows[dependency], `${name} -> ${dependency}`).toBeLessThanOrEqual(row)
      if (row !== aside) expect(rows[dependency], `${name} -> ${dependency}`).not.toBe(aside)
    }
  })

  test('its manifest lists what its sources import, and nothing else', () => {
    const used = new Set<string>()
    for (const file of files) {
      for (const specifier of imports(file)) {
        if (specifier.startsWith('.') || specifier.startsWith('node:')) continue
        used.add(
          specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : (specifier.split('/')[0] as string),
        )
      }
    }
    expect([...used].toSorted()).toEqual(Object.keys(manifests.get(name)?.dependencies ?? {}).toSorted())
  })

  if (row <= pureRow) {
    test('is pure: no node modules, no ambient time, timers or randomness', () => {
      for (const file of files) {
        expect(
          imports(file).filter((specifier) => specifier.startsWith('node:')),
          file,
        ).toEqual([])
        expect(
          code(file).match(
            /\b(?:Date\.now|new Date|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|process\.|Buffer)\b/g,
          ),
          file,
        ).toBeNull()
      }
    })
  } else if (row !== aside && name !== 'runtime' && name !== 'cli') {
    test('reaches the world only through Env', () => {
      for (const file of files) {
        expect(
          imports(file).filter((specifier) => /^node:(?:fs|net|timers|dgram|child_process|http|os)/.test(specifier)),
          file,
        ).toEqual([])
        expect(
          cryptoImports(file).filter((imported) => !deterministicCrypto.has(imported)),
          file,
        ).toEqual([])
        expect(
          code(file).match(/\b(?:Date\.now|Math\.random|setTimeout|setInterval|setImmediate|performance\.now)\b/g),
          file,
        ).toBeNull()
      }
    })
  }
})

test('the dependencies of packages have no cycle', () => {
  const done = new Set<string>()
  const visit = (name: string, path: readonly string[]): void => {
    expect(path, [...path, name].join(' -> ')).not.toContain(name)
    if (done.has(name)) return
    for (const dependency of shoalDependencies(name)) visit(dependency, [...path, name])
    done.add(name)
  }
  for (const name of names) visit(name, [])
})
