/**
 * Bugs that are put into the program on purpose, so that it can be seen that the simulation finds them. They are edits of
 * the compiled packages, made by a loader hook in the process that runs the simulation; the sources know nothing of them.
 */
export interface Edit {
  /** Below `packages/`, e.g. `object-store/dist/journal.js`. */
  readonly file: string
  /** Occurs in it exactly once. */
  readonly find: string
  readonly replace: string
}

export interface PlantedBug extends Edit {
  readonly name: string
  /** What is broken. */
  readonly mechanism: string
  /** What no longer holds because of it. */
  readonly promise: string
  /** Of the table of hunts. */
  readonly scenario: string
}

/** Throws unless the text to replace occurs exactly once: a plant that does nothing would prove nothing. */
export function applyEdit(source: string, { file, find, replace }: Edit): string {
  const parts = source.split(find)
  if (parts.length !== 2) {
    throw new Error(`cannot plant in ${file}: ${parts.length - 1} places instead of 1 for:\n${find}`)
  }
  return parts.join(replace)
}
