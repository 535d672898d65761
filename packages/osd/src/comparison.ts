import { compareBytes, unreachable } from '@shoal/base'
import type { CompareMode } from '@shoal/wire'

/** Whether `stored` stands to `given` as the mode says, as byte strings: `greater` means that the stored one is greater. */
export function holds(stored: Uint8Array, mode: CompareMode, given: Uint8Array): boolean {
  const order = compareBytes(stored, given)
  switch (mode) {
    case 'equal':
      return order === 0
    case 'not-equal':
      return order !== 0
    case 'greater':
      return order > 0
    case 'greater-or-equal':
      return order >= 0
    case 'less':
      return order < 0
    case 'less-or-equal':
      return order <= 0
    default:
      return unreachable(mode)
  }
}
