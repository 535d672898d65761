/**
 * As much of an assembler for WebAssembly as the kernel needs: functions of i32 parameters without results, loops, the
 * vector instructions, one memory of fixed size. The encoding is that of the core specification, section 5.
 */

const valueType = { i32: 0x7f, v128: 0x7b } as const
const emptyBlock = 0x40
const exportKind = { function: 0, memory: 2 } as const

/** Unsigned LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  bytes.push(rest)
  return bytes
}

/** Signed LEB128. */
function signed(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  while (rest < -0x40 || rest > 0x3f) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>= 7
  }
  bytes.push(rest & 0x7f)
  return bytes
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()]
}

function sized(bytes: readonly number[]): number[] {
  return [...unsigned(bytes.length), ...bytes]
}

function text(value: string): number[] {
  return sized([...value].map((letter) => letter.charCodeAt(0)))
}

/** A local variable of a function (parameters come first). */
export interface Local {
  readonly index: number
  readonly type: keyof typeof valueType
}

/** The instructions of one function, in the order of the calls; operands come before the instruction that takes them. */
export class FunctionAssembler {
  readonly parameters: readonly Local[]
  private readonly locals: Local[] = []
  private readonly instructions: number[] = []

  constructor(parameterCount: number) {
    this.parameters = Array.from({ length: parameterCount }, (_, index) => ({ index, type: 'i32' }))
  }

  newLocal(type: Local['type']): Local {
    const local: Local = { index: this.parameters.length + this.locals.length, type }
    this.locals.push(local)
    return local
  }

  get(local: Local): this {
    return this.emit(0x20, ...unsigned(local.index))
  }

  set(local: Local): this {
    return this.emit(0x21, ...unsigned(local.index))
  }

  /** Sets it and leaves the value. */
  tee(local: Local): this {
    return this.emit(0x22, ...unsigned(local.index))
  }

  i32Const(value: number): this {
    return this.emit(0x41, ...signed(value))
  }

  i32Add(): this {
    return this.emit(0x6a)
  }

  i32Subtract(): this {
    return this.emit(0x6b)
  }

  i32LessUnsigned(): this {
    return this.emit(0x49)
  }

  /** All 16 bytes the same. */
  v128Const(byte: number): this {
    return this.simd(12, ...Array.from({ length: 16 }, () => byte))
  }

  v128Load(offset: number): this {
    return this.simd(0, 0, ...unsigned(offset))
  }

  v128Store(offset: number): this {
    return this.simd(11, 0, ...unsigned(offset))
  }

  v128And(): this {
    return this.simd(78)
  }

  v128Xor(): this {
    return this.simd(81)
  }

  /** Bytes of the first operand by the indexes in the second. */
  i8x16Swizzle(): this {
    return this.simd(14)
  }

  i16x8ShiftRightUnsigned(): this {
    return this.simd(141)
  }

  /** Runs `body`, and again as long as it leaves something else than 0. */
  loopWhile(body: () => void): this {
    this.emit(0x03, emptyBlock)
    body()
    return this.emit(0x0d, 0, 0x0b)
  }

  /** On the value before it. */
  ifElse(then: () => void, otherwise: () => void): this {
    this.emit(0x04, emptyBlock)
    then()
    this.emit(0x05)
    otherwise()
    return this.emit(0x0b)
  }

  /** The function's type, as the type section has it. */
  get signature(): number[] {
    return [0x60, ...vector(this.parameters.map(({ type }) => [valueType[type]])), ...vector([])]
  }

  /** Its locals and instructions, as the code section has them. */
  get code(): number[] {
    const locals = vector(this.locals.map(({ type }) => [1, valueType[type]]))
    return sized([...locals, ...this.instructions, 0x0b])
  }

  private simd(opcode: number, ...operands: readonly number[]): this {
    return this.emit(0xfd, ...unsigned(opcode), ...operands)
  }

  private emit(...bytes: readonly number[]): this {
    this.instructions.push(...bytes)
    return this
  }
}

/** A module that exports its functions by name, and its memory as `memory`. */
export function assembleModule(memoryPages: number, functions: ReadonlyMap<string, FunctionAssembler>): Uint8Array {
  const bodies = [...functions.values()]
  const exported = [...functions.keys()].map((name, index) => [...text(name), exportKind.function, ...unsigned(index)])
  const section = (id: number, content: readonly number[]): number[] => [id, ...sized(content)]
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d],
    ...[0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(bodies.map((body) => body.signature))),
    ...section(3, vector(bodies.map((_, index) => unsigned(index)))),
    ...section(5, vector([[0x01, ...unsigned(memoryPages), ...unsigned(memoryPages)]])),
    ...section(7, vector([...exported, [...text('memory'), exportKind.memory, 0]])),
    ...section(10, vector(bodies.map((body) => body.code))),
  ])
}
