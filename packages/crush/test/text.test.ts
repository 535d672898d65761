/** The text form: errors that name the line and the mend, and what printing must not lose. */
import { type CrushMap, crushCompile, crushDecompile, decodeCrushMap, encodeCrushMap } from '@shoal/crush'
import { describe, expect, test } from 'vitest'
import { weightText } from '../src/decompile.ts'
import { shortFloat } from '../src/tester.ts'
import { MapWriter } from './support/random-map.ts'

const good = `# a map
device 0 osd.0 class ssd
device 1 osd.1 class hdd
type 0 osd
type 1 host
type 2 root
host a {
  alg straw2
  item osd.0 weight 1.5
  item osd.1
}
root default {
  id -7
  id -9 class ssd
  alg straw2
  hash 0
  item a
}
rule data {
  id 0
  type replicated
  min_size 1
  max_size 10
  step take default class ssd
  step chooseleaf firstn 0 type host
  step emit
}
`

describe('compile', () => {
  test('assigns ids, sums weights, makes shadows with the ids given', () => {
    const map = crushCompile(good)
    expect(map.names.get(-1)).toBe('a')
    expect(map.names.get(-9)).toBe('default~ssd')
    expect(map.buckets[6]?.weight).toBe(0x2_8000)
    expect(map.buckets[8]?.weight).toBe(0x1_8000)
    expect(map.rules[0]?.steps[0]?.arg1).toBe(-9)
  })

  test.each([
    ['device 1 osd.1 class hdd', 'device 1 osd.0', 'line 3: item osd.0 is defined twice'],
    ['type 1 host', 'type one host', "line 5: parse error at 'one host'"],
    ['  alg straw2\n  item osd.0', '  alg straw3\n  item osd.0', "line 7: unknown bucket alg 'straw3'"],
    ['weight 1.5', 'weight 101', "line 9: weight 101 of 'osd.0' is out of range"],
    ['item osd.1', 'item osd.7', "line 10: item 'osd.7' in bucket 'a' is not defined"],
    ['root default {', 'rooot default {', "line 12: bucket type 'rooot' is not defined"],
    ['id -7', 'id -99999999', 'line 12: bucket id -99999999 is out of range'],
    ['id -9 class ssd', 'id -9 class ssd\n  id -10 class ssd', 'line 12: bucket default has two ids for class ssd'],
    ['take default class ssd', 'take default class nvme', 'line 24: default has no devices of class nvme'],
    ['type host\n', 'type rack\n', "line 25: type 'rack' is not defined"],
    ['step emit', 'step omit', "line 26: parse error at 'omit'"],
    ['max_size 10', 'max_size', "line 24: parse error at 'step take"],
    ['device 0', 'tunable speed 9\ndevice 0', 'line 2: tunable speed is not known'],
  ])('%s -> %s', (from, to, message) => {
    const attempt = (): CrushMap => crushCompile(good.replace(from, to))
    expect(attempt).toThrow(expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining(message) }))
    expect(attempt).toThrow(expect.objectContaining({ hint: expect.stringMatching(/./) }))
  })

  test('says what may stand where the text stops', () => {
    expect(() => crushCompile('device 0 osd.0\ntype 1 host\nhost a {\n  id -1\n')).toThrow(
      expect.objectContaining({ message: expect.stringContaining('line 5'), hint: expect.stringContaining("'alg'") }),
    )
  })

  test('refuses buckets nested without end, and long chains', () => {
    const levels = Array.from({ length: 400 }, (_, i) => `host h${i} { alg straw2 ${i === 0 ? '' : `item h${i - 1}`} }`)
    expect(() => crushCompile(`type 1 host\n${levels.join('\n')}`)).toThrow(/line 258: buckets are nested deeper/)
  })
})

describe('decompile', () => {
  test('loses no more than the third decimal: what was printed once prints the same again', () => {
    for (let seed = 300; seed < 340; seed++) {
      const { text } = new MapWriter(seed).make({ devicesMax: 20 })
      let map: CrushMap
      try {
        map = decodeCrushMap(encodeCrushMap(crushCompile(text)))
      } catch {
        continue
      }
      const again = (text: string): string => crushDecompile(decodeCrushMap(encodeCrushMap(crushCompile(text))))
      const printed = again(crushDecompile(map))
      expect(again(printed)).toBe(printed)
    }
  })

  test('weights have three decimals, ties to even', () => {
    expect(weightText(0x1_0000)).toBe('1.000')
    expect(weightText(4096)).toBe('0.062')
    expect(weightText(4096 * 3)).toBe('0.188')
    expect(weightText(0)).toBe('0.000')
    expect(weightText(0xffff_0000)).toBe('-1.000')
    expect(weightText(0x63_ffff)).toBe('100.000')
  })
})

test('floats print as C++ prints them', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [341.3125, '341.312'],
    [341.4375, '341.438'],
    [1024, '1024'],
    [102_400, '102400'],
    [999_999.5, '1e+06'],
    [1_024_000, '1.024e+06'],
    [3_145_725, '3.14572e+06'],
    [0.5, '0.5'],
    [0.0001220703125, '0.00012207'],
    [0.00006103515625, '6.10352e-05'],
    [-2.5, '-2.5'],
  ]
  for (const [value, text] of cases) expect(shortFloat(value)).toBe(text)
})
