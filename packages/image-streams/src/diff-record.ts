/** What a diff stream says, in order. Byte table: docs/formats/rbd-streams.md. */

/**
 * From what, to what, the size, then what differs, then the end.
 *
 * A reader gives the payload of one `data` record in as many pieces as its input had; a writer makes a record of each.
 */
export type DiffRecord =
  /** The snapshot that the receiver must have; left out: the stream begins with an empty image. */
  | { readonly kind: 'from'; readonly snapshot: string }
  /** The snapshot that the receiver has afterwards; left out: the head was sent. */
  | { readonly kind: 'to'; readonly snapshot: string }
  /** Of the snapshot `to`. Version 2 only. */
  | { readonly kind: 'protected'; readonly isProtected: boolean }
  /** Of the image afterwards. */
  | { readonly kind: 'size'; readonly sizeBytes: number }
  | { readonly kind: 'data'; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number }
  | { readonly kind: 'end' }

/** Version 1 is what `rbd export-diff` writes; version 2 stands inside of an image stream. */
export type DiffVersion = 1 | 2

export const diffBanners: Readonly<Record<DiffVersion, string>> = { 1: 'rbd diff v1\n', 2: 'rbd diff v2\n' }

export const diffTags = { from: 'f', to: 't', protected: 'p', size: 's', data: 'w', zero: 'z', end: 'e' } as const

/** What `rbd` says of the length of such a body, and so do we. It has one byte. */
export const protectedBodyBytes = 8
