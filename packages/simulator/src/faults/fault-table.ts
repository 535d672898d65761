/** Every fault there is. */
import { clockFaults } from './clock-faults.ts'
import { configFaults } from './config-faults.ts'
import { diskFaults } from './disk-faults.ts'
import type { Fault } from './fault.ts'
import { monitorFaults } from './monitor-faults.ts'
import { networkFaults } from './network-faults.ts'
import { operatorFaults } from './operator-faults.ts'
import { powerFaults } from './power-faults.ts'
import { processFaults } from './process-faults.ts'

export const allFaults: readonly Fault[] = [
  ...networkFaults,
  ...processFaults,
  ...powerFaults,
  ...diskFaults,
  ...clockFaults,
  ...operatorFaults,
  ...configFaults,
  ...monitorFaults,
]

const byKind = new Map(allFaults.map((fault) => [fault.kind, fault]))

export function findFault(kind: string): Fault | undefined {
  return byKind.get(kind)
}
