import { ClusterError } from '@shoal/base'
import { createErasureCode, formatErasureCodeProfile, parseErasureCodeProfile, stripeLayoutOf } from '@shoal/erasure'
import { afterAll, describe, expect, test } from 'vitest'
import { toolMissing, Workbench } from './support/tools.ts'

const parse = (text: string) => parseErasureCodeProfile(text.split(' '))

function refusal(text: string): ClusterError {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof ClusterError) return error
    throw error
  }
  throw new Error(`${text} was accepted`)
}

test('all that can be said', () => {
  const text =
    'k=4 m=2 plugin=jerasure technique=reed_sol_van w=8 crush-failure-domain=rack crush-root=east crush-device-class=ssd stripe_unit=64K'
  const profile = parse(text)
  expect(profile).toEqual({
    k: 4,
    m: 2,
    plugin: 'jerasure',
    technique: 'reed_sol_van',
    stripeUnitBytes: 65_536,
    crushFailureDomain: 'rack',
    crushRoot: 'east',
    crushDeviceClass: 'ssd',
  })
  expect(stripeLayoutOf(profile)).toEqual({ k: 4, chunkBytes: 65_536 })
})

test('what is left out', () => {
  expect(formatErasureCodeProfile(parse('k=2 m=1'))).toEqual([
    'crush-device-class=',
    'crush-failure-domain=host',
    'crush-root=default',
    'jerasure-per-chunk-alignment=false',
    'k=2',
    'm=1',
    'plugin=jerasure',
    'stripe_unit=4096',
    'technique=reed_sol_van',
    'w=8',
  ])
})

test.each(['k=2 m=1', 'k=8 m=3 crush-device-class=hdd stripe_unit=1Mi', 'm=2 k=4 crush-root=a.b-c_d'])(
  '%s reads back as it is printed',
  (text) => {
    const profile = parse(text)
    expect(parseErasureCodeProfile(formatErasureCodeProfile(profile))).toEqual(profile)
  },
)

test.each([
  ['4K', 4096],
  ['4Ki', 4096],
  ['8192', 8192],
  ['8192B', 8192],
  ['4M', 4_194_304],
])('stripe_unit=%s', (text, sizeBytes) => {
  expect(parse(`k=2 m=1 stripe_unit=${text}`).stripeUnitBytes).toBe(sizeBytes)
})

test.each([
  ['m=2', 'k is missing'],
  ['k=2', 'm is missing'],
  ['k=two m=1', 'k=two is not a positive whole number'],
  ['k=-1 m=1', 'k=-1 is not a positive whole number'],
  ['k=1 m=2', 'k=1 is a copy'],
  ['k=2 m=0', 'm=0 is not a positive whole number'],
  ['k=30 m=3', '33 chunks, more than 32'],
  ['k=2 m=1 plugin=isa', 'plugin=isa is not supported'],
  ['k=2 m=1 technique=cauchy_good', 'technique=cauchy_good is not supported'],
  ['k=2 m=1 w=16', 'w=16 is not supported'],
  ['k=2 m=1 k=3', "'k' is given twice"],
  ['k=2 m=1 packetsize=64', "no profile has 'packetsize'"],
  ['k=2 m=1 fast', "'fast' is not KEY=VALUE"],
  ['k=2 m=1 stripe_unit=4T', 'stripe_unit=4T is not a size'],
  ['k=2 m=1 stripe_unit=0', 'is not a multiple of 4K'],
  ['k=2 m=1 stripe_unit=5000', 'is not a multiple of 4K'],
  ['k=2 m=1 stripe_unit=8M', 'is not a multiple of 4K'],
  ['k=2 m=1 crush-root=', 'is not a name in CRUSH'],
  ['k=2 m=1 crush-failure-domain=a/b', 'is not a name in CRUSH'],
])('%s: %s', (text, message) => {
  const error = refusal(text)
  expect(error.code).toBe('EINVAL')
  expect(error.message).toContain(message)
  expect(error.hint).toBeTruthy()
})

describe.skipIf(toolMissing())('as Ceph', () => {
  const bench = new Workbench()
  afterAll(() => bench.close())

  test.each(['k=2 m=1', 'k=4 m=2', 'k=20 m=12', 'k=1 m=1', 'k=2 m=0'])('%s is a code or not', (text) => {
    const isOurs = (() => {
      try {
        const { k, m } = parse(text)
        return createErasureCode({ k, m }).k === k
      } catch {
        return false
      }
    })()
    const words = `plugin=jerasure,technique=reed_sol_van,${text.replaceAll(' ', ',')}`
    expect(bench.accepts(words)).toBe(isOurs)
  })
})
