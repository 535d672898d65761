/** What an operation may take of the disks that its object lies on, before anybody has looked at the object. */
import { isWriteOp, type ObjectOp } from '@shoal/wire'

/** What a write may take besides its bytes: the rest of the blocks at both of its ends. */
export const writeOverheadBytes: number = 2 * 4096

/** Removals give space back, and locks and watches are given back: that goes on when nothing else does. */
export function needsSpace(ops: readonly ObjectOp[]): boolean {
  return ops.some((step) => {
    switch (step.kind) {
      case 'remove':
      case 'truncate':
      case 'zero':
      case 'remove-xattr':
      case 'omap-remove':
      case 'omap-clear':
      case 'unlock':
      case 'break-lock':
      case 'unwatch':
        return false
      default:
        return isWriteOp(step)
    }
  })
}

/** At most so many bytes are newly allocated, on each copy. */
export function spaceBytesOf(ops: readonly ObjectOp[]): number {
  let total = 0
  for (const step of ops) {
    if (step.kind === 'write' || step.kind === 'append' || step.kind === 'write-full')
      total += step.data.length + writeOverheadBytes
  }
  return total
}
