/** Edits: what an OSD and an operator do to the map, step by step. Byte equality with Ceph is in differential.test.ts. */
import {
  addBucket,
  ancestorOf,
  type CrushMap,
  CrushMapper,
  createErasureRule,
  createOrMove,
  createReplicatedRule,
  crushDecompile,
  decodeCrushMap,
  emptyCrushMap,
  encodeCrushMap,
  locationOf,
  moveItem,
  removeItem,
  removeRule,
  renameBucket,
  reweightItem,
  rmDeviceClass,
  ruleIdOf,
  setDeviceClass,
  setTunables,
  treeOf,
  tunableProfiles,
} from '@shoal/crush'
import { describe, expect, test } from 'vitest'

function idOf(map: CrushMap, name: string): number {
  for (const [id, known] of map.names) if (known === name) return id
  throw new Error(`no ${name}`)
}

function weightOf(map: CrushMap, name: string): number {
  return (map.buckets[-1 - idOf(map, name)]?.weight ?? Number.NaN) / 0x1_0000
}

function withOsds(count: number): CrushMap {
  let map = emptyCrushMap()
  for (let osd = 0; osd < count; osd++) {
    map = createOrMove(map, osd, `osd.${osd}`, 1, { root: 'default', host: `node-${osd % 3}` })
  }
  return map
}

describe('a new map', () => {
  test('has the default types, optimal tunables and the root', () => {
    const map = emptyCrushMap()
    expect(map.types.get(11)).toBe('root')
    expect(map.types.size).toBe(12)
    expect(map.tunables).toEqual(tunableProfiles.optimal)
    expect(treeOf(map)).toMatchObject([{ id: -1, name: 'default', type: 'root', children: [] }])
    expect(decodeCrushMap(encodeCrushMap(map))).toEqual(map)
  })
})

describe('devices', () => {
  test('an OSD adds itself once, and moves with its weight', () => {
    const map = withOsds(6)
    expect(weightOf(map, 'default')).toBe(6)
    expect(createOrMove(map, 0, 'osd.0', 5, { root: 'default', host: 'node-0' })).toBe(map)
    const moved = createOrMove(map, 0, 'osd.0', 5, { root: 'default', host: 'node-2' })
    expect(locationOf(moved, 0)).toEqual({ host: 'node-2', root: 'default' })
    expect([weightOf(moved, 'node-0'), weightOf(moved, 'node-2'), weightOf(moved, 'default')]).toEqual([1, 3, 6])
    expect(ancestorOf(moved, 0, 'host')).toBe(idOf(moved, 'node-2'))
    expect(ancestorOf(moved, 0, 'rack')).toBeUndefined()
    expect(locationOf(map, 0)['host']).toBe('node-0')
  })

  test('weights add up to the root', () => {
    const map = reweightItem(withOsds(6), 'osd.4', 2.5)
    expect([weightOf(map, 'node-1'), weightOf(map, 'default')]).toEqual([3.5, 7.5])
    expect(() => reweightItem(map, 'osd.4', -1)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => reweightItem(map, 'osd.99', 1)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  })

  test('a host is moved with its devices, and removed only when empty', () => {
    let map = addBucket(withOsds(3), 'rack-1', 'rack', { root: 'default' })
    map = moveItem(map, 'node-1', { rack: 'rack-1' })
    expect(locationOf(map, 1)).toEqual({ host: 'node-1', rack: 'rack-1', root: 'default' })
    expect([weightOf(map, 'rack-1'), weightOf(map, 'default')]).toEqual([1, 3])
    expect(() => removeItem(map, 'node-1')).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    map = removeItem(removeItem(map, 'osd.1'), 'node-1')
    expect([...map.names.values()]).not.toContain('node-1')
    expect(weightOf(map, 'default')).toBe(2)
    expect(() => moveItem(map, 'default', { root: 'default' })).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })

  test('names and types are checked', () => {
    const map = withOsds(1)
    expect(() => addBucket(map, 'a b', 'host')).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => addBucket(map, 'node-0', 'host')).toThrow(expect.objectContaining({ code: 'EEXIST' }))
    expect(() => addBucket(map, 'x', 'shelf')).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => createOrMove(map, 1, 'osd.0', 1, { root: 'default' })).toThrow(
      expect.objectContaining({ code: 'EEXIST' }),
    )
    expect(() => createOrMove(map, 1, 'osd.1', 1, { shelf: 'x' })).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})

describe('classes and rules', () => {
  test('a rule of a class places on that class only, also after the tree changes', () => {
    let map = withOsds(9)
    for (let osd = 0; osd < 9; osd++) map = setDeviceClass(map, osd, osd < 5 ? 'ssd' : 'hdd')
    map = createReplicatedRule(map, { name: 'fast', root: 'default', failureDomain: 'host', deviceClass: 'ssd' })
    const shadow = idOf(map, 'default~ssd')
    map = createOrMove(map, 9, 'osd.9', 1, { root: 'default', host: 'node-new' })
    map = setDeviceClass(map, 9, 'ssd')
    expect(idOf(map, 'default~ssd')).toBe(shadow)
    const mapper = new CrushMapper(map)
    const weights = new Uint32Array(10).fill(0x1_0000)
    const seen = new Set<number>()
    const rule = ruleIdOf(map, 'fast') as number
    for (let x = 0; x < 300; x++) for (const osd of mapper.map(rule, x, 3, weights)) seen.add(osd)
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 9])
    expect(treeOf(map).map((root) => root.name)).toEqual(['default'])
    expect(treeOf(map, true).map((root) => root.name)).toContain('default~ssd')
    expect(crushDecompile(map)).toContain('step take default class ssd')
  })

  test('a class is left before another is taken', () => {
    const map = setDeviceClass(withOsds(1), 0, 'ssd')
    expect(setDeviceClass(map, 0, 'ssd')).toBe(map)
    expect(() => setDeviceClass(map, 0, 'hdd')).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    const bare = rmDeviceClass(map, 0)
    expect(rmDeviceClass(bare, 0)).toBe(bare)
    expect(treeOf(setDeviceClass(bare, 0, 'hdd'))[0]?.children[0]?.children[0]?.deviceClass).toBe('hdd')
    expect([...bare.names.values()].filter((name) => name.includes('~'))).toEqual([])
  })

  test('rules take the lowest free id', () => {
    let map = createReplicatedRule(withOsds(3), { name: 'a', root: 'default', failureDomain: 'host' })
    map = createErasureRule(map, { name: 'b', root: 'default', failureDomain: 'osd' }, 6)
    expect([ruleIdOf(map, 'a'), ruleIdOf(map, 'b')]).toEqual([0, 1])
    expect(map.rules[1]).toMatchObject({ type: 3, maxSize: 6 })
    map = removeRule(map, 'a')
    expect(() => removeRule(map, 'a')).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    map = createReplicatedRule(map, { name: 'c', root: 'default', failureDomain: 'host' })
    expect(ruleIdOf(map, 'c')).toBe(0)
    expect(() => createReplicatedRule(map, { name: 'c', root: 'default', failureDomain: 'host' })).toThrow(
      expect.objectContaining({ code: 'EEXIST' }),
    )
    expect(() => removeItem(removeAll(map), 'default')).toThrow(expect.objectContaining({ code: 'EBUSY' }))
  })

  test('a renamed root renames its shadows', () => {
    const map = renameBucket(setDeviceClass(withOsds(2), 0, 'ssd'), 'default', 'main')
    expect([...map.names.values()].filter((name) => name.includes('~')).sort()).toContain('main~ssd')
    expect(() => renameBucket(map, 'osd.0', 'x')).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(setTunables(map, 'firefly').tunables.chooseleafStable).toBe(0)
  })
})

function removeAll(map: CrushMap): CrushMap {
  let rest = map
  for (const name of [...map.names].filter(([id]) => id >= 0).map(([, osd]) => osd)) rest = removeItem(rest, name)
  for (const name of ['node-0', 'node-1', 'node-2']) rest = removeItem(rest, name)
  return rest
}
