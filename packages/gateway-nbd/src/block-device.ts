/** What the gateway serves. Offsets and lengths are bytes; the gateway has checked that they lie inside the device. */

export interface DeviceExtent {
  readonly length: number
  /** False: a hole, which reads as zeros and takes no space. */
  readonly allocated: boolean
}

export interface DirtyExtent {
  readonly length: number
  /** False: certainly the same as in the snapshot that was asked about. */
  readonly dirty: boolean
}

/** A piece of what was read: bytes, or so many zeros that are a hole. */
export type DeviceData =
  | { readonly kind: 'data'; readonly data: Uint8Array }
  | { readonly kind: 'hole'; readonly length: number }

export interface BlockDevice {
  readonly sizeBytes: number
  readonly readOnly: boolean
  readonly description: string
  /** The sizes in which I/O is fastest; any alignment works. */
  readonly preferredBlockBytes: number
  /** Exactly `length` bytes, as pieces in order. */
  read(offset: number, length: number): Promise<readonly DeviceData[]>
  /** Resolves once the bytes are on stable storage: every write is as strong as FUA asks. */
  write(offset: number, data: Uint8Array): Promise<void>
  /** Resolves once every write that was acknowledged before the call is on stable storage. */
  flush(): Promise<void>
  /** Afterwards the range reads as zeros, and takes no space where that is possible. */
  trim(offset: number, length: number): Promise<void>
  /** Zeros; `punchHole` allows the range to become a hole. */
  writeZeroes(offset: number, length: number, punchHole: boolean): Promise<void>
  /** The whole range as extents in order; neighbours differ. */
  extents(offset: number, length: number): Promise<readonly DeviceExtent[]>
  /** What changed since the snapshot, for the whole range in order; neighbours differ. ENOENT when it is gone. */
  changes?(snapshot: string, offset: number, length: number): Promise<readonly DirtyExtent[]>
}

export interface NbdExport {
  /** Its proper name, which the empty one may stand for. */
  readonly name: string
  readonly device: BlockDevice
  /** Called once, when the last connection to this opening has gone. */
  close(): Promise<void>
}

/** Where exports come from: they may appear and go at any time. */
export interface ExportSource {
  list(): Promise<readonly { readonly name: string; readonly description: string }[]>
  /** Undefined for an unknown name; the empty name asks for the default export. */
  open(name: string): Promise<NbdExport | undefined>
  /** The snapshots that `changes` of the export's device can be asked about; undefined for an unknown name. */
  snapshots(name: string): Promise<readonly string[] | undefined>
}
