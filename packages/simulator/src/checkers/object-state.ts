/** The state of one modelled object. Immutable. */
import { emptyBytes } from '@shoal/base'
import { ObjectContent } from './object-content.ts'

export interface ModelObject {
  readonly exists: boolean
  readonly content: ObjectContent
  readonly xattrs: ReadonlyMap<string, Uint8Array>
  /** By key, as latin1 text, sorted: so sorts as bytes do. */
  readonly omap: ReadonlyMap<string, Uint8Array>
  readonly omapHeader: Uint8Array
  /** Of the last write; undefined when no client was told. */
  readonly version: number | undefined
  readonly versionMin: number
}

export const noObject: ModelObject = {
  exists: false,
  content: ObjectContent.empty,
  xattrs: new Map(),
  omap: new Map(),
  omapHeader: emptyBytes,
  version: undefined,
  versionMin: 0,
}

/** Keys as text that sorts as their bytes do. */
export function omapKey(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1')
}
