import type { Epoch, Log } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import {
  allOptions,
  DaemonConfig,
  effectiveValues,
  findOption,
  formatOption,
  formatTarget,
  type OptionTable,
  osdOptions,
  parseOption,
  parseTarget,
  subjectNamed,
} from '../src/index.ts'

const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog }
const parse = (name: string, text: string) => parseOption(findOption(name), text)

describe('options', () => {
  it.each([
    ['osd_max_backfills', '7', 7],
    ['osd_heartbeat_grace', '10', 10],
    ['mon_osd_down_out_interval', '10m', 600],
    ['mon_osd_down_out_interval', '1.5h', 5_400],
    ['osd_client_message_size_cap', '48M', 48 * 2 ** 20],
    ['osd_client_message_size_cap', '1GiB', 2 ** 30],
    ['osd_failsafe_full_ratio', '0.95', 0.95],
    ['mon_allow_pool_delete', 'no', false],
    ['mon_osd_reporter_subtree_level', 'rack', 'rack'],
    ['debug_osd', '5/20', '5/20'],
  ])('%s = %s', (name, text, value) => expect(parse(name, text)).toBe(value))

  it.each([
    ['osd_max_backfills', '0', /from 1 to 1000; the default is 3/],
    ['osd_max_backfills', '2.5', /a whole number/],
    ['osd_max_backfills', 'many', /a whole number/],
    ['osd_max_backfills', '', /a whole number/],
    ['osd_max_backfills', '0x10', /a whole number/],
    ['osd_heartbeat_grace', '1h30m', /seconds/],
    ['osd_heartbeat_grace', 'Infinity', /seconds/],
    ['osd_client_message_size_cap', '48Q', /48M/],
    ['osd_failsafe_full_ratio', '97', /to 0.99/],
    ['mon_allow_pool_delete', 'maybe', /true or false/],
    ['mon_osd_reporter_subtree_level', 'planet', /host/],
    ['debug_osd', '21', /0 to 20/],
    ['debug_osd', '1/2/3', /0 to 20/],
  ])('%s refuses %s and says what is allowed', (name, text, hint) => {
    expect(() => parse(name, text)).toThrow(
      expect.objectContaining({ code: 'EINVAL', hint: expect.stringMatching(hint) as string }) as Error,
    )
  })

  it('each has a default within its range, in the form that is stored', () => {
    for (const option of allOptions) {
      expect(parseOption(option, formatOption(option.default)), option.name).toBe(option.default)
      expect(option.description.length, option.name).toBeGreaterThan(10)
    }
  })

  it('an unknown name is answered with the nearest ones', () => {
    for (const name of ['osd_max_backfill', 'osd max backfills!', 'max_backfills']) {
      expect(() => findOption(name)).toThrow(
        expect.objectContaining({ hint: expect.stringContaining('osd_max_backfills') as string }) as Error,
      )
    }
    expect(findOption('osd max-backfills').name).toBe('osd_max_backfills')
  })
})

describe('targets', () => {
  it.each(['global', 'osd', 'osd.3', 'mon.a', 'client.nbd.0', 'osd/class:ssd', 'osd/host:a', 'osd/class:ssd/rack:r'])(
    '%s is written so',
    (text) => expect(formatTarget(parseTarget(text))).toBe(text),
  )

  it.each([
    '',
    'osd.',
    'osd.x',
    'osd.03',
    'mds',
    'osd/ssd',
    'osd/class:',
    'osd/host:a/rack:r',
    'osd.3/class:ssd',
    'osd/class:a:b',
  ])('%s is nobody', (text) =>
    expect(() => parseTarget(text)).toThrow(expect.objectContaining({ code: 'EINVAL' }) as Error),
  )

  it('the most precise value counts: name, then type, then global; a near bucket, a far one, a class, no mask', () => {
    const subject = subjectNamed('osd.3', { host: 'a', rack: 'r', root: 'default' }, 'ssd')
    const inOrder = [
      'global',
      'global/class:ssd',
      'osd',
      'osd/class:ssd',
      'osd/root:default',
      'osd/rack:r',
      'osd/host:a',
      'osd/class:ssd/host:a',
      'osd.3',
    ]
    const others = ['mon', 'osd.4', 'osd/class:hdd', 'osd/host:b', 'osd/class:hdd/host:a', 'client']
    for (let count = 1; count <= inOrder.length; count++) {
      const who = [...inOrder.slice(0, count).reverse(), ...others]
      const stored = who.map((one) => ({ who: one, name: 'osd_max_backfills', value: one }))
      const expected = inOrder[count - 1]
      for (const order of [stored, [...stored].reverse()]) {
        expect(effectiveValues(order, subject)).toEqual([
          { name: 'osd_max_backfills', value: expected, from: expected },
        ])
      }
    }
  })

  it('leaves out what the daemon does not read', () => {
    const stored = [{ who: 'global', name: 'mon_lease', value: '9' }]
    expect(effectiveValues(stored, subjectNamed('osd.0'))).toEqual([])
    expect(effectiveValues(stored, subjectNamed('mon.a'))).toHaveLength(1)
  })
})

interface Settings {
  readonly quick: number
  readonly slow: number
  readonly firm: number
}
const base = { type: 'uint', default: 1, min: 1, level: 'basic', services: ['osd'], description: '' } as const
const table: OptionTable<Settings> = {
  quick: { ...base, change: 'live' },
  slow: { ...base, change: 'restart' },
  firm: { ...base, change: 'fixed' },
}
const config = (version: number, values: Readonly<Record<string, string>>, epoch = version) => ({
  version,
  epoch: epoch as Epoch,
  values: Object.entries(values).map(([name, value]) => ({ name, value, from: 'osd' })),
})
const rowOf = (daemon: DaemonConfig<Settings>, name: string) => daemon.show().find((row) => row.name === name)

describe("a daemon's settings", () => {
  it('change under whoever holds them, and go back to what it was started with', () => {
    const daemon = new DaemonConfig(table, { quick: 5 }, silentLog)
    const { settings } = daemon
    const told: string[][] = []
    daemon.onChange((names) => told.push([...names]))
    expect(rowOf(daemon, 'quick')).toEqual({ name: 'quick', value: '5', source: 'start' })
    daemon.apply(config(1, { quick: '7' }))
    expect(settings.quick).toBe(7)
    expect(rowOf(daemon, 'quick')).toEqual({ name: 'quick', value: '7', source: 'osd' })
    daemon.apply(config(2, { quick: '7' }))
    daemon.apply(config(3, {}))
    expect(settings.quick).toBe(5)
    expect(told).toEqual([['quick'], ['quick']])
  })

  it('never go back to an older configuration', () => {
    const daemon = new DaemonConfig(table, {}, silentLog)
    daemon.apply(config(5, { quick: '7' }))
    daemon.apply(config(4, { quick: '3' }))
    daemon.apply(config(5, { quick: '3' }, 4))
    expect(daemon.settings.quick).toBe(7)
    daemon.apply(config(5, { quick: '4' }, 6))
    expect(daemon.settings.quick).toBe(4)
  })

  it('that need a restart wait for it, and are shown to wait', () => {
    const daemon = new DaemonConfig(table, {}, silentLog)
    daemon.apply(config(1, { slow: '7' }))
    expect(daemon.settings.slow).toBe(7)
    daemon.started()
    daemon.apply(config(2, { slow: '8' }))
    expect(daemon.settings.slow).toBe(7)
    expect(rowOf(daemon, 'slow')).toEqual({ name: 'slow', value: '7', source: 'osd', pending: '8' })
    daemon.apply(config(3, { slow: '7' }))
    expect(rowOf(daemon, 'slow')).toEqual({ name: 'slow', value: '7', source: 'osd' })
  })

  it('leave out what this version does not understand, and say so', () => {
    const daemon = new DaemonConfig(table, {}, silentLog)
    daemon.apply(config(1, { quick: 'a bunch', unheard_of: '1', firm: '4' }))
    expect(daemon.settings).toEqual({ quick: 1, slow: 1, firm: 1 })
    expect(rowOf(daemon, 'quick')).toMatchObject({ value: '1', source: 'default', ignored: /a bunch/ })
  })

  it('of a wrong name or kind are refused at the start', () => {
    expect(() => new DaemonConfig(osdOptions, { osd_map_keep: '4' as unknown as number }, silentLog)).toThrow(/number/)
    expect(() => new DaemonConfig(osdOptions, { osd_map_kep: 4 } as object, silentLog)).toThrow(/no setting/)
  })
})
