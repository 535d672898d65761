/** In what operators keep in the monitors: the configuration, and the history of health. */
import type { PlantedBug } from './planted-bug.ts'

export const configBugs: readonly PlantedBug[] = [
  {
    name: 'mask-beats-name',
    mechanism: 'a value for the OSDs of a host counts more than one for this OSD',
    promise: 'of the values that fit a daemon the most precise one counts',
    file: 'monitor-client/dist/config/section.js',
    find: 'rank * 10_000 + nearness * 10',
    replace: 'rank * 20 + nearness * 10',
    scenario: 'configuration',
  },
  {
    name: 'config-told-once',
    mechanism: 'a monitor tells a subscriber its values when it comes, and not again unless the CRUSH map changes',
    promise: 'every daemon goes by what is stored',
    file: 'monitor/dist/daemon/subscriptions.js',
    find: 'told.stored === operations?.config && told.crush',
    replace: 'told.crush',
    scenario: 'configuration',
  },
  {
    name: 'removed-option-stays',
    mechanism: 'a daemon keeps the value of an option that was taken back',
    promise: 'an option that is not set has its default',
    file: 'monitor-client/dist/config/daemon-config.js',
    find: 'let wanted = fallback;',
    replace: 'let wanted = before;',
    scenario: 'configuration',
  },
  {
    name: 'health-known-by-leader-only',
    mechanism: 'a leader tells what cleared since it began to lead, and knows nothing of what failed before',
    promise: 'a check that cleared while a leader was elected is told to have cleared',
    file: 'monitor/dist/daemon/leader.js',
    find: 'const known = state.operations?.failing ?? before;',
    replace: 'const known = before;',
    scenario: 'elections',
  },
]
