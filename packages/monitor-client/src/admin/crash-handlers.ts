/**
 * `assert` and `abort` of the admin endpoint end the daemon as a bug would, so that people can see what comes of it. As in
 * Ceph they do nothing unless `debug_asok_assert_abort` is set.
 */
import { AssertionError, ClusterError, type Env } from '@shoal/base'
import type { CommonSettings } from '../config/common-options.ts'
import type { AdminHandlers } from './admin.ts'

/** The answer leaves first. */
const delayMs = 100

export function crashHandlers(env: Pick<Env, 'timers' | 'abort'>, settings: CommonSettings): AdminHandlers {
  const soon = (end: () => void) => () => {
    if (!settings.debug_asok_assert_abort) {
      throw new ClusterError('EPERM', 'this daemon may not be ended so', {
        hint: 'shoal config set osd.N debug_asok_assert_abort true',
      })
    }
    env.timers.after(delayMs, end)
    return { ends: true }
  }
  return {
    assert: soon(() => {
      throw new AssertionError('an operator asked for it')
    }),
    abort: soon(() => env.abort('an operator asked for it')),
  }
}
