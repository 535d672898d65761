/**
 * The grammar of text CRUSH maps, as crushtool reads them: docs/formats/crush-map.md. A statement tree comes out, with
 * numbers still as they were written; what they mean is for compile.ts.
 *
 * Like crushtool's own, the parser has no tokens: a keyword needs no space behind it, alternatives are tried in order
 * and the first that fits wins. Where no alternative fits, the error names the furthest place any of them reached.
 */
import { ClusterError } from '@shoal/base'

interface Statement {
  /** Offset in the source, for the line of an error. */
  readonly at: number
}
export interface TunableStatement extends Statement {
  readonly kind: 'tunable'
  readonly name: string
  readonly value: string
}
export interface DeviceStatement extends Statement {
  readonly kind: 'device'
  readonly id: string
  readonly name: string
  readonly deviceClass: string | undefined
}
interface TypeStatement extends Statement {
  readonly kind: 'type'
  readonly id: string
  readonly name: string
}
interface BucketItem extends Statement {
  readonly name: string
  readonly weight: string | undefined
  readonly position: string | undefined
}
export interface BucketStatement extends Statement {
  readonly kind: 'bucket'
  readonly typeName: string
  readonly name: string
  readonly ids: readonly { readonly id: string; readonly deviceClass: string | undefined }[]
  readonly algorithm: string
  readonly hash: string
  readonly items: readonly BucketItem[]
}
export type TextStep = Statement &
  (
    | { readonly kind: 'take'; readonly item: string; readonly deviceClass: string | undefined }
    | { readonly kind: 'set'; readonly what: SetStep; readonly value: string }
    | {
        readonly kind: 'choose'
        readonly leaf: boolean
        readonly firstn: boolean
        readonly count: string
        readonly type: string
      }
    | { readonly kind: 'emit' }
  )
export interface RuleStatement extends Statement {
  readonly kind: 'rule'
  readonly name: string | undefined
  readonly id: string
  readonly type: 'replicated' | 'erasure'
  readonly minSize: string
  readonly maxSize: string
  readonly steps: readonly TextStep[]
}
export interface TextChooseArg extends Statement {
  readonly bucketId: string
  readonly weightSet: readonly (readonly string[])[] | undefined
  readonly ids: readonly string[] | undefined
}
export interface ChooseArgsStatement extends Statement {
  readonly kind: 'choose_args'
  readonly id: string
  readonly args: readonly TextChooseArg[]
}

export interface TextMap {
  readonly settings: readonly (TunableStatement | DeviceStatement | TypeStatement)[]
  readonly body: readonly (BucketStatement | RuleStatement)[]
  readonly chooseArgs: readonly ChooseArgsStatement[]
  /** The error for something wrong at an offset of the source. */
  readonly errorAt: (at: number, message: string, hint: string) => ClusterError
}

const setSteps = [
  'set_choose_tries',
  'set_choose_local_tries',
  'set_choose_local_fallback_tries',
  'set_chooseleaf_tries',
  'set_chooseleaf_vary_r',
  'set_chooseleaf_stable',
] as const
export type SetStep = (typeof setSteps)[number]

/** What statements other than buckets begin with; a bucket type may be called so all the same. */
const keywords: ReadonlySet<string> = new Set(['tunable', 'device', 'type', 'rule', 'choose_args'])

const integer = /-?[0-9]+/y
const natural = /[0-9]+/y
const negative = /-[0-9]+/y
const name = /[-_.0-9A-Za-z]+/y
const real = /[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?/y
const space = /[ \t\n\v\f\r]*/y

/** What a failed alternative throws; the parser goes on with the next. */
const mismatch = Symbol('mismatch')

class Parser {
  private readonly source: string
  private at = 0
  private furthest = 0
  private readonly expected = new Set<string>()
  /** While what is parsed begins with the keyword of another statement: how far that gets tells nothing. */
  private muted = false

  constructor(source: string) {
    this.source = source
  }

  /** Throws EINVAL unless the whole source is a map. */
  map(): TextMap {
    const settings = this.many(() =>
      this.first<TextMap['settings'][number]>([() => this.tunable(), () => this.device(), () => this.type()]),
    )
    const body = this.many(() => this.first<TextMap['body'][number]>([() => this.bucket(), () => this.rule()]))
    const chooseArgs = this.many(() => this.chooseArgs())
    if (this.skip() < this.source.length) {
      const found = this.source.slice(this.furthest).split('\n', 1)[0]?.slice(0, 40) ?? ''
      const where = found === '' ? 'at the end of the line' : `at '${found}'`
      throw this.errorAt(this.furthest, `parse error ${where}`, `expected ${[...this.expected].join(' or ')}`)
    }
    return { settings, body, chooseArgs, errorAt: (at, message, hint) => this.errorAt(at, message, hint) }
  }

  private errorAt(at: number, message: string, hint: string): ClusterError {
    const line = this.source.slice(0, at).split('\n').length
    return new ClusterError('EINVAL', `line ${line}: ${message}`, { hint })
  }

  /** Past the white space; where to. */
  private skip(): number {
    space.lastIndex = this.at
    space.test(this.source)
    this.at = space.lastIndex
    return this.at
  }

  private fail(expected: string): never {
    if (this.muted) throw mismatch
    if (this.at > this.furthest) {
      this.furthest = this.at
      this.expected.clear()
    }
    if (this.at === this.furthest) this.expected.add(expected)
    throw mismatch
  }

  private take(pattern: RegExp, what: string): string {
    const start = this.skip()
    pattern.lastIndex = start
    if (!pattern.test(this.source)) this.fail(what)
    this.at = pattern.lastIndex
    return this.source.slice(start, this.at)
  }

  private word(word: string): void {
    if (!this.source.startsWith(word, this.skip())) this.fail(`'${word}'`)
    this.at += word.length
  }

  private optional<T>(parse: () => T): T | undefined {
    const start = this.at
    try {
      return parse()
    } catch (error) {
      if (error !== mismatch) throw error
      this.at = start
      return undefined
    }
  }

  private many<T>(parse: () => T): T[] {
    const found: T[] = []
    for (let next = this.optional(parse); next !== undefined; next = this.optional(parse)) found.push(next)
    return found
  }

  private first<T>(alternatives: readonly (() => T)[]): T {
    for (const alternative of alternatives) {
      const found = this.optional(alternative)
      if (found !== undefined) return found
    }
    throw mismatch
  }

  private classOf(): string | undefined {
    return this.optional(() => {
      this.word('class')
      return this.take(name, 'the name of a class')
    })
  }

  private tunable(): TunableStatement {
    const at = this.skip()
    this.word('tunable')
    return {
      kind: 'tunable',
      at,
      name: this.take(name, 'the name of a tunable'),
      value: this.take(natural, 'a number'),
    }
  }

  private device(): DeviceStatement {
    const at = this.skip()
    this.word('device')
    const id = this.take(natural, 'the id of a device')
    return { kind: 'device', at, id, name: this.take(name, 'the name of a device'), deviceClass: this.classOf() }
  }

  private type(): TypeStatement {
    const at = this.skip()
    this.word('type')
    return {
      kind: 'type',
      at,
      id: this.take(natural, 'the number of a type'),
      name: this.take(name, 'the name of a type'),
    }
  }

  private bucket(): BucketStatement {
    const at = this.skip()
    const typeName = this.take(name, 'a bucket, a rule or choose_args')
    this.muted = keywords.has(typeName)
    try {
      return this.bucketOf(at, typeName)
    } finally {
      this.muted = false
    }
  }

  private bucketOf(at: number, typeName: string): BucketStatement {
    const bucketName = this.take(name, 'the name of a bucket')
    this.word('{')
    const ids = this.many(() => {
      this.word('id')
      return { id: this.take(negative, 'a negative id'), deviceClass: this.classOf() }
    })
    this.word('alg')
    const algorithm = this.take(name, 'uniform, list, tree, straw or straw2')
    const hashes = this.many(() => {
      this.word('hash')
      const number = this.optional(() => this.take(integer, 'a number'))
      if (number === undefined) this.word('rjenkins1')
      return number ?? '0'
    })
    const items = this.many(() => this.bucketItem())
    this.word('}')
    return { kind: 'bucket', at, typeName, name: bucketName, ids, algorithm, hash: hashes.at(-1) ?? '0', items }
  }

  private bucketItem(): BucketItem {
    const at = this.skip()
    this.word('item')
    const item = this.take(name, 'the name of an item')
    const weight = this.optional(() => {
      this.word('weight')
      return this.take(real, 'a weight')
    })
    const position = this.optional(() => {
      this.word('pos')
      return this.take(natural, 'a position')
    })
    return { at, name: item, weight, position }
  }

  private rule(): RuleStatement {
    const at = this.skip()
    this.word('rule')
    const ruleName = this.optional(() => this.take(name, 'the name of a rule'))
    this.word('{')
    this.first([() => this.keyword('id'), () => this.keyword('ruleset')])
    const id = this.take(natural, 'the id of a rule')
    this.word('type')
    const type = this.first([() => this.keyword('replicated'), () => this.keyword('erasure')])
    this.word('min_size')
    const minSize = this.take(natural, 'a number')
    this.word('max_size')
    const maxSize = this.take(natural, 'a number')
    const steps = [this.step(), ...this.many(() => this.step())]
    this.word('}')
    return { kind: 'rule', at, name: ruleName, id, type, minSize, maxSize, steps }
  }

  private keyword<W extends string>(word: W): W {
    this.word(word)
    return word
  }

  private step(): TextStep {
    const at = this.skip()
    this.word('step')
    return this.first<TextStep>([
      () => {
        this.word('take')
        return { kind: 'take', at, item: this.take(name, 'the name of an item'), deviceClass: this.classOf() }
      },
      ...setSteps.map((what) => (): TextStep => {
        this.word(what)
        return { kind: 'set', at, what, value: this.take(natural, 'a number') }
      }),
      () => this.choose(at, 'choose'),
      () => this.choose(at, 'chooseleaf'),
      () => {
        this.word('emit')
        return { kind: 'emit', at }
      },
    ])
  }

  private choose(at: number, word: 'choose' | 'chooseleaf'): TextStep {
    this.word(word)
    const mode = this.first([() => this.keyword('indep'), () => this.keyword('firstn')])
    const count = this.take(integer, 'a number')
    this.word('type')
    const type = this.take(name, 'the name of a type')
    return { kind: 'choose', at, leaf: word === 'chooseleaf', firstn: mode === 'firstn', count, type }
  }

  private chooseArgs(): ChooseArgsStatement {
    const at = this.skip()
    this.word('choose_args')
    const id = this.take(natural, 'the id of choose_args')
    this.word('{')
    const args = this.many(() => this.chooseArg())
    this.word('}')
    return { kind: 'choose_args', at, id, args }
  }

  private chooseArg(): TextChooseArg {
    const at = this.skip()
    this.word('{')
    this.word('bucket_id')
    const bucketId = this.take(negative, 'a negative id')
    const weightSet = this.optional(() => {
      this.word('weight_set')
      this.word('[')
      const sets = this.many(() => this.list('', real))
      this.word(']')
      return sets
    })
    const ids = this.optional(() => this.list('ids', integer))
    this.word('}')
    return { at, bucketId, weightSet, ids }
  }

  private list(word: string, element: RegExp): string[] {
    this.word(word)
    this.word('[')
    const elements = this.many(() => this.take(element, 'a number'))
    this.word(']')
    return elements
  }
}

/** Parses the text of a map; comments run from `#` to the end of the line. */
export function parseCrushText(text: string): TextMap {
  return new Parser(text.replaceAll(/#[^\n]*/g, '')).map()
}
