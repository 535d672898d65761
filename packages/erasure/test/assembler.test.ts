/** The assembler's encoding: a module byte by byte, and long numbers as the specification writes them. */
import { describe, expect, test } from 'vitest'
import { simdModule } from '../src/simd-module.ts'
import { assembleModule, FunctionAssembler } from '../src/wasm-assembler.ts'

test('a module, byte by byte', () => {
  const f = new FunctionAssembler(1)
  const [at] = f.parameters as [FunctionAssembler['parameters'][number]]
  const chunk = f.newLocal('v128')
  f.get(at).v128Load(16).set(chunk).get(at).get(chunk).v128Store(0)
  const expected = [
    [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    [1, 5, 1, 0x60, 1, 0x7f, 0],
    [3, 2, 1, 0],
    [5, 4, 1, 0x01, 2, 2],
    [7, 14, 2, 1, 0x66, 0, 0, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 0],
    [10, 22, 1, 20, 1, 1, 0x7b, 0x20, 0, 0xfd, 0, 0, 16, 0x21, 1, 0x20, 0, 0x20, 1, 0xfd, 11, 0, 0, 0x0b],
  ].flat()
  expect([...assembleModule(2, new Map([['f', f]]))]).toEqual(expected)
})

describe('numbers', () => {
  const code = (emit: (f: FunctionAssembler) => void): readonly number[] => {
    const f = new FunctionAssembler(0)
    emit(f)
    return f.code.slice(2, -1)
  }

  test.each([
    [0, [0]],
    [63, [63]],
    [64, [0xc0, 0]],
    [128, [0x80, 1]],
    [-1, [0x7f]],
    [-64, [0x40]],
    [-65, [0xbf, 0x7f]],
  ])('i32.const %i', (value, bytes) => {
    expect(code((f) => f.i32Const(value))).toEqual([0x41, ...bytes])
  })

  test('opcodes beyond 127', () => {
    expect(code((f) => f.i16x8ShiftRightUnsigned())).toEqual([0xfd, 0x8d, 0x01])
  })
})

test('the kernel is a module that is the same every time', () => {
  const module = simdModule(5)
  expect(simdModule(5)).toEqual(module)
  expect(module.length).toBeLessThan(8192)
})
