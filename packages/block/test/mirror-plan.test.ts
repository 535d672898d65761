/** What is done next, as a table: here, there, and the step. */
import { type MirrorSide, type MirrorStep, planMirrorStep } from '@shoal/block'
import { expect, test } from 'vitest'

const minuteMs = 60_000
const nowMs = 10 * minuteMs

interface Brief {
  readonly snaps?: string
  readonly scheduleMs?: number
  readonly importing?: string
  readonly unpublished?: string
  readonly isPartial?: boolean
}

/** `snaps`: names apart by blanks, the last one a minute old. */
function side(role: MirrorSide['role'], { snaps = '', ...others }: Brief = {}): MirrorSide {
  const names = snaps.split(' ').filter((name) => name !== '')
  return {
    name: 'disk',
    role,
    scheduleMs: 0,
    importing: undefined,
    unpublished: undefined,
    isPartial: false,
    ...others,
    snapshots: names.map((name) => ({ name, createdMs: nowMs - minuteMs })),
  }
}

const wait = (state: string): object => ({ kind: 'wait', state })

const cases: readonly (readonly [what: string, here: MirrorSide | undefined, there: MirrorSide | undefined, object])[] =
  [
    ['nothing anywhere', undefined, undefined, wait('source')],
    ['only here', side('primary'), undefined, wait('source')],
    ['a primary without a snapshot', undefined, side('primary'), { kind: 'snapshot' }],
    ['a primary with one', undefined, side('primary', { snaps: 's1' }), { kind: 'create' }],
    ['a copy elsewhere, of nothing here', undefined, side('copy', { snaps: 's1' }), wait('source')],
    [
      'a copy that has not got its name',
      side('copy', { isPartial: true }),
      side('primary', { snaps: 's1' }),
      { kind: 'name' },
    ],
    ['the first copy', side('copy'), side('primary', { snaps: 's1 s2' }), { kind: 'copy', from: undefined, to: 's2' }],
    [
      'the next one',
      side('copy', { snaps: 's1' }),
      side('primary', { snaps: 's1 s2' }),
      { kind: 'copy', from: 's1', to: 's2' },
    ],
    [
      'one that was begun is finished first',
      side('copy', { snaps: 's1', importing: 's2' }),
      side('primary', { snaps: 's1 s2 s3' }),
      { kind: 'copy', from: 's1', to: 's2' },
    ],
    [
      'one that was begun is gone',
      side('copy', { snaps: 's1', importing: 's2' }),
      side('primary', { snaps: 's1 s3' }),
      { kind: 'copy', from: 's1', to: 's3' },
    ],
    [
      'one that is complete, and its marker there still',
      side('copy', { snaps: 's1 s2', importing: 's2' }),
      side('primary', { snaps: 's1 s2 s3' }),
      { kind: 'copy', from: 's2', to: 's3' },
    ],
    [
      'one that readers do not see',
      side('copy', { snaps: 's1', unpublished: 's2' }),
      side('primary', { snaps: 's1 s2' }),
      { kind: 'publish', snapshot: 's2' },
    ],
    [
      'snapshots that nobody needs',
      side('copy', { snaps: 's1 s2 s3' }),
      side('primary', { snaps: 's1 s2 s3' }),
      { kind: 'prune', local: ['s1'], remote: ['s1', 's2'] },
    ],
    ['nothing new', side('copy', { snaps: 's1' }), side('primary', { snaps: 's1' }), wait('synced')],
    [
      'not due',
      side('copy', { snaps: 's1' }),
      side('primary', { snaps: 's1', scheduleMs: minuteMs + 1 }),
      wait('synced'),
    ],
    [
      'due',
      side('copy', { snaps: 's1' }),
      side('primary', { snaps: 's1', scheduleMs: minuteMs }),
      { kind: 'snapshot' },
    ],
    ['two primaries', side('primary', { snaps: 's1' }), side('primary', { snaps: 's1' }), wait('split-brain')],
    ['went its own way', side('copy', { snaps: 's1 x' }), side('primary', { snaps: 's1 s2' }), wait('diverged')],
    [
      'a demoted primary has more',
      side('copy', { snaps: 's1' }),
      side('copy', { snaps: 's1 s2' }),
      { kind: 'copy', from: 's1', to: 's2' },
    ],
    ['and we are that one', side('copy', { snaps: 's1 s2' }), side('copy', { snaps: 's1' }), wait('source')],
    ['both demoted', side('copy', { snaps: 's1' }), side('copy', { snaps: 's1' }), wait('demoted-both')],
    [
      'both demoted after they parted',
      side('copy', { snaps: 's1 x' }),
      side('copy', { snaps: 's1 y' }),
      wait('diverged'),
    ],
    ['the other side forgot it', side('copy', { snaps: 's1' }), undefined, wait('orphan')],
    ['somebody changes the role', side('demoting'), side('primary', { snaps: 's1' }), wait('demoting')],
    ['and there', side('copy', { snaps: 's1' }), side('demoting', { snaps: 's1' }), wait('demoting')],
    ['promoting', side('promoting', { snaps: 's1' }), side('primary', { snaps: 's1 s2' }), wait('promoting')],
  ]

test.each(cases)('%s', (_, here, there, step) => {
  expect(planMirrorStep(here, there, nowMs) satisfies MirrorStep).toMatchObject(step)
})
