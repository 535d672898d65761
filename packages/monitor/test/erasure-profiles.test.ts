/** Erasure code profiles and the pools that are made from them, as commands. */
import { isClusterError } from '@shoal/base'
import { erasureProfileOf, featureQuotas, featureShardSnapshots, featureShards } from '@shoal/cluster-map'
import { expect, it } from 'vitest'
import { bootOf, MonitorCluster } from './support/monitor-cluster.ts'
import { Told } from './support/told-cluster.ts'

it('profiles decide about pools, and pools keep what they were made from', async () => {
  const mons = new MonitorCluster(71, 3, {})
  await mons.found()
  const client = await mons.started(mons.client())
  const ask = (command: Parameters<typeof client.command>[0]) => mons.command(client, command)
  const codeOf = async (command: Parameters<typeof client.command>[0]) => {
    try {
      await ask(command)
      return 'done'
    } catch (error) {
      if (!isClusterError(error)) throw error
      return error.code
    }
  }
  const set = { prefix: 'osd erasure-code-profile set', name: 'wide' }
  const words = ['k=4', 'm=2', 'crush-failure-domain=osd', 'stripe_unit=8K']
  expect((await ask({ prefix: 'osd erasure-code-profile ls' })).data).toEqual(['default'])
  await ask({ ...set, profile: words })
  expect((await ask({ prefix: 'osd erasure-code-profile get', name: 'wide' })).data).toMatchObject({
    k: '4',
    m: '2',
    stripe_unit: '8192',
    technique: 'reed_sol_van',
  })
  expect(await codeOf({ ...set, profile: ['k=5', 'm=2'] })).toBe('EEXIST')
  expect(await codeOf({ ...set, profile: words })).toBe('done')
  expect(await codeOf({ ...set, name: 'bad', profile: ['k=5', 'q=2'] })).toBe('EINVAL')

  const create = { prefix: 'osd pool create', pool: 'data', pg_num: 8, pool_type: 'erasure' }
  expect(await codeOf({ ...create, erasure_code_profile: 'none' })).toBe('ENOENT')
  expect(await codeOf({ ...create, erasure_code_profile: 'wide', size: 3 })).toBe('EINVAL')
  expect(await codeOf({ ...create, erasure_code_profile: 'wide', min_size: 3 })).toBe('EINVAL')
  await ask({ ...create, erasure_code_profile: 'wide' })
  await mons.world.time.until(() => (client.osdMap?.pools.size ?? 0) === 1, 5_000)
  const pool = [...(client.osdMap?.pools.values() ?? [])][0]
  expect(pool).toMatchObject({ type: 'erasure', size: 6, minSize: 5 })
  expect(erasureProfileOf(pool)).toContain('stripe_unit=8192')
  expect((await ask({ prefix: 'osd crush rule dump', name: 'data' })).data).toMatchObject({ pools: ['data'], type: 3 })
  expect((await ask({ prefix: 'osd pool get', pool: 'data' })).data).toMatchObject({ erasure_code_profile: 'wide' })

  expect(await codeOf({ prefix: 'osd pool set', pool: 'data', var: 'crush_rule', val: 'replicated_rule' })).toBe(
    'EINVAL',
  )
  expect(await codeOf({ prefix: 'osd pool set', pool: 'data', var: 'size', val: '5' })).toBe('EPERM')
  expect(await codeOf({ prefix: 'osd pool set', pool: 'data', var: 'min_size', val: '3' })).toBe('EINVAL')
  expect(await codeOf({ prefix: 'osd pool set', pool: 'data', var: 'min_size', val: '4' })).toBe('done')
  expect(await codeOf({ prefix: 'osd erasure-code-profile rm', name: 'wide' })).toBe('EBUSY')
  expect(await codeOf({ ...set, profile: ['k=5', 'm=2'], force: true })).toBe('done')
  expect(erasureProfileOf([...(client.osdMap?.pools.values() ?? [])][0])).toContain('k=4')
  await ask({ ...set, name: 'other', profile: ['k=2', 'm=1'] })
  expect(await codeOf({ prefix: 'osd erasure-code-profile rm', name: 'other' })).toBe('done')
  expect(await codeOf({ prefix: 'osd crush rule create-erasure', name: 'spread', profile: 'wide' })).toBe('done')
})

it('no older OSD is given shards: neither before there are any, nor later', async () => {
  const told = await new Told(72).found(featureQuotas)
  const create = { prefix: 'osd pool create', pool: 'data', pg_num: 8, pool_type: 'erasure' }
  await expect(told.command(create)).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  const boot = (osd: number, incarnation: number, features: number) =>
    told.mons.settle(told.client.boot({ ...bootOf(osd, incarnation, `host-${osd}`), features }))
  const features = featureQuotas + featureShards
  for (const osd of [0, 1, 2]) {
    await boot(osd, 2, features)
    await boot(osd, 2, features)
  }
  await told.command(create)
  await told.command({ prefix: 'osd pool set-quota', pool: 'data', field: 'max_bytes', val: '1G' })
  await expect(boot(1, 3, featureQuotas)).rejects.toMatchObject({ code: 'EPERM' })
  const snapshot = { prefix: 'osd pool mksnap', pool: 'data', snap: 's' }
  await expect(told.command(snapshot)).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  const managed = { prefix: 'osd pool selfmanaged-snap create', pool: 'data' }
  await expect(told.command(managed)).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  for (const osd of [0, 1, 2]) await boot(osd, 4, features + featureShardSnapshots)
  await told.command(snapshot)
  await expect(boot(1, 5, features)).rejects.toMatchObject({ code: 'EPERM' })
  const sure = { pool: 'data', pool2: 'data', yes_i_really_really_mean_it: true }
  await told.command({ prefix: 'osd pool rm', ...sure })
  await boot(1, 3, 0)
})
