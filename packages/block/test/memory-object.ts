/** An object in memory. */
export interface MemoryObject {
  bytes: Uint8Array
  /** Bytes that were written; the others are holes. */
  allocated: Uint8Array
  readonly omap: Map<string, { readonly key: Uint8Array; readonly value: Uint8Array }>
}

export function copyOf(object: MemoryObject): MemoryObject {
  return { bytes: object.bytes.slice(), allocated: object.allocated.slice(), omap: new Map(object.omap) }
}

export function resized(object: MemoryObject, sizeBytes: number): void {
  const [bytes, allocated] = [new Uint8Array(sizeBytes), new Uint8Array(sizeBytes)]
  bytes.set(object.bytes.subarray(0, sizeBytes))
  allocated.set(object.allocated.subarray(0, sizeBytes))
  object.bytes = bytes
  object.allocated = allocated
}
