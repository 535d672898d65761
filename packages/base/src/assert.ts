/** A broken invariant. It is a bug of ours, never a fault of the world: the process that sees one dumps and ends. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Ends the caller with an {@link AssertionError} unless `condition` holds. Always on, in production too. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** The value, which must be there: `must(map.get(id), 'pool of a known PG')`. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new AssertionError(`missing: ${what}`)
  return value
}

/** Marks a branch that a union type has ruled out; a new member that nobody handled does not compile. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`)
}
