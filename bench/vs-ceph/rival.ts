/** What the comparison needs of a cluster, whichever it is. */

export interface Rival {
  readonly name: string
  /** Of fio: which engine, and where the image is. */
  readonly engine: readonly string[]
  /** Environment of fio. */
  readonly env: Readonly<Record<string, string>>
  /** Process ids of all daemons, and of the OSDs alone. */
  pids(): Promise<{ readonly all: readonly number[]; readonly osds: readonly number[] }>
}

/** The shape that both have: so many OSDs, copies and placement groups. */
export interface Shape {
  readonly osds: number
  readonly osdGib: number
  readonly size: number
  readonly pgNum: number
  readonly imageMib: number
}

export const poolName = 'bench'
export const imageName = 'image'
