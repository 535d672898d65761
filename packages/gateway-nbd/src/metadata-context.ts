/**
 * Metadata contexts: what a client may ask about ranges of an export. `base:allocation` tells holes from data;
 * `qemu:dirty-bitmap:SNAPSHOT`, the name that clients know for it, tells what changed since a snapshot.
 */
import { allocationContext, dirtyContextPrefix } from './protocol.ts'

export interface SelectedContext {
  /** As the client was told; replies carry it. */
  readonly id: number
  readonly name: string
  /** Undefined for `base:allocation`. */
  readonly snapshot: string | undefined
}

function contextsOf(snapshots: readonly string[]): readonly SelectedContext[] {
  return [
    { id: 1, name: allocationContext, snapshot: undefined },
    ...snapshots.map((snapshot, i) => ({ id: i + 2, name: `${dirtyContextPrefix}${snapshot}`, snapshot })),
  ]
}

/** For LIST: all when nothing is asked; a namespace, or the name of a family, stands for all in it. */
export function listContexts(snapshots: readonly string[], queries: readonly string[]): readonly SelectedContext[] {
  const wildcards: ReadonlySet<string> = new Set(['base:', 'qemu:', dirtyContextPrefix])
  return contextsOf(snapshots).filter(
    ({ name }) =>
      queries.length === 0 ||
      queries.some((query) => query === name || (wildcards.has(query) && name.startsWith(query))),
  )
}

/** For SET: exact names only. What is not known is ignored, as the protocol asks. */
export function selectContexts(snapshots: readonly string[], queries: readonly string[]): readonly SelectedContext[] {
  return contextsOf(snapshots).filter(({ name }) => queries.includes(name))
}
