import { describe, expect, it, vi } from 'vitest'
import { Reservers } from '../src/reservers.ts'

const nothing = { onGranted: () => undefined, onPreempted: () => undefined }

function setUp() {
  const settings = { osd_max_backfills: 1, osd_max_trimming_pgs: 2, osd_max_scrubs: 3 }
  return { settings, reservers: new Reservers(settings) }
}

describe('reservers', () => {
  it('share slots between recovery and backfill, not between what is driven and what is taken part in', () => {
    const { reservers } = setUp()
    expect(reservers.of('local-recovery')).toBe(reservers.of('local-backfill'))
    expect(reservers.of('remote-recovery')).toBe(reservers.of('remote-backfill'))
    const kinds = (['local-recovery', 'remote-recovery', 'snaptrim', 'local-scrub', 'remote-scrub'] as const).map(
      (slot) => reservers.of(slot),
    )
    expect(new Set(kinds).size).toBe(5)
  })

  it('grant at once what a changed option has room for, and leave the others as they are', () => {
    const { settings, reservers } = setUp()
    const onGranted = vi.fn()
    reservers.of('local-recovery').request('1.0', 1, nothing)
    reservers.of('local-backfill').request('1.1', 1, { ...nothing, onGranted })
    settings.osd_max_backfills = 2
    reservers.onConfigChange(new Set(['osd_max_scrubs']))
    expect(onGranted).not.toHaveBeenCalled()
    reservers.onConfigChange(new Set(['osd_max_backfills']))
    expect(onGranted).toHaveBeenCalledOnce()
    expect(reservers.summary()).toMatchObject({
      reservations: { local: { slots: 2, granted: ['1.0', '1.1'] }, remote: { slots: 2 }, snapTrim: { slots: 2 } },
      scrubReservations: { local: { slots: 3 }, remote: { slots: 3 } },
    })
  })
})
