/** What operators do to the number of a pool's placement groups. */
import { type Fault, nothing, pick } from './fault.ts'
import { consent, operate } from './operations.ts'

/** More than that says nothing new, and takes long to simulate. */
const pgNumMax = 48

/** More placement groups, by a factor that need not be whole: when all are clean, or at once. */
export const split: Fault = {
  kind: 'pg-split',
  family: 'operator',
  weight: 2,
  draw: (random, plan) => ({
    pool: pick(random, plan.pools).name,
    times: random.below(3) === 0 ? 1 + random.fraction() : 2 ** (1 + random.below(3)),
    atOnce: random.below(2) === 0,
  }),
  strike({ cluster, background }, { pool, times, atOnce }) {
    background(`split ${String(pool)}`, async () => {
      const { data } = await operate(cluster, { prefix: 'osd pool get', pool, var: 'pg_num' })
      const now = (data as { readonly pg_num: number }).pg_num
      const val = Math.min(pgNumMax, Math.ceil(now * (times as number)))
      if (val > now) {
        await operate(cluster, {
          prefix: 'osd pool set',
          pool,
          var: 'pg_num',
          val,
          ...(atOnce === true ? consent : {}),
        })
      }
    })
    return nothing
  },
}

/** Fewer placement groups, by a few or by most of them; what is asked next may come in between. */
export const merge: Fault = {
  kind: 'pg-merge',
  family: 'operator',
  weight: 2,
  draw: (random, plan) => ({ pool: pick(random, plan.pools).name, part: random.fraction() }),
  strike({ cluster, background }, { pool, part }) {
    background(`merge ${String(pool)}`, async () => {
      const { data } = await operate(cluster, { prefix: 'osd pool get', pool, var: 'pg_num' })
      const now = (data as { readonly pg_num: number }).pg_num
      const val = Math.max(1, Math.min(now - 1, Math.ceil(now * (part as number))))
      if (val < now) await operate(cluster, { prefix: 'osd pool set', pool, var: 'pg_num', val })
    })
    return nothing
  },
}
