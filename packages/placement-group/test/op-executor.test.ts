/** Every kind of operation against a model of an object, and against the steps that a store would take. */
import { compareBytes, type ErrorCode, utf8Encode } from '@shoal/base'
import { compareModes, type ObjectOp, type ObjectOpResult, opLimits } from '@shoal/wire'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeObjectAttribute, objectAttributeName } from '../src/object-attribute.ts'
import { type Execution, executeWrite, loadRequestFor } from '../src/op-executor.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { MemoryStore, type StoredObject } from './simulation/memory-store.ts'
import { object, version } from './support.ts'

const id = object('thing')
const text = (value: string): Uint8Array => utf8Encode(value)
const userVersion = 7

/** A store with one object, or without. */
class Bench {
  readonly store = new MemoryStore()

  caller = { client: 1, nowMs: 1_000 }

  constructor(...setUp: ObjectOp[]) {
    this.store.submit({ ops: [{ kind: 'create-collection', collection: simulatedPg }] })
    if (setUp.length === 0) return
    this.run(...setUp)
    const attribute = encodeObjectAttribute({
      version: version("1'7"),
      userVersion,
      modifiedMs: 5,
      request: { client: 1, tid: 1 },
    })
    const xattrs = new Map([[objectAttributeName, attribute]])
    this.store.submit({ ops: [{ kind: 'set-xattrs', collection: simulatedPg, object: id, xattrs }] })
  }

  execute(...ops: ObjectOp[]): Execution {
    const request = loadRequestFor(id, ops) ?? { object: id, omapKeys: [], extents: [] }
    return executeWrite(simulatedPg, id, ops, this.store.load(request), this.caller)
  }

  /** Executes, and applies it unless it fails. */
  run(...ops: ObjectOp[]): Execution {
    const execution = this.execute(...ops)
    if (execution.kind === 'done') {
      this.store.submit({ ops: execution.steps })
      const found = this.object
      expect(execution.after.exists).toBe(found !== undefined)
      expect(execution.after.sizeBytes).toBe(found?.data.length ?? 0)
      expect(execution.after.xattrs).toEqual(found?.xattrs ?? new Map())
    }
    return execution
  }

  get object(): StoredObject | undefined {
    return this.store.find(id)
  }

  get content(): string | undefined {
    return this.object === undefined ? undefined : new TextDecoder().decode(this.object.data)
  }

  get omap(): Record<string, string> {
    const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
    const entries = this.store.piece(id, 0, 0, undefined, 1_000)?.omap ?? []
    return Object.fromEntries(entries.map(({ key, value }) => [decode(key), decode(value)]))
  }
}

const codeOf = (execution: Execution): ErrorCode | undefined =>
  execution.kind === 'failed' ? execution.code : undefined
const resultsOf = (execution: Execution): readonly ObjectOpResult[] =>
  execution.kind === 'done' ? execution.results : []
const put = (value: string): ObjectOp => ({ kind: 'write-full', data: text(value) })
const setOmap = (...pairs: [string, string][]): ObjectOp => ({
  kind: 'omap-set',
  entries: pairs.map(([key, value]) => ({ key: text(key), value: text(value) })),
})

describe('locks', () => {
  const take = {
    kind: 'lock',
    name: 'l',
    mode: 'exclusive',
    cookie: '',
    tag: '',
    description: '',
    durationMs: 100,
    renew: 'no',
  } as const
  const ask = { kind: 'assert-locked', name: 'l', mode: 'exclusive', cookie: '', tag: '' } as const

  it('are taken and asked for in one operation with what they protect, by whom and when it is executed', () => {
    const bench = new Bench()
    expect(codeOf(bench.run(take, ask, put('mine')))).toBeUndefined()
    bench.caller = { client: 2, nowMs: 1_099 }
    expect(codeOf(bench.run(ask, put('stolen')))).toBe('EBUSY')
    expect(codeOf(bench.run(take))).toBe('EBUSY')
    expect(bench.content).toBe('mine')
    bench.caller = { client: 2, nowMs: 1_100 }
    expect(codeOf(bench.run(take, put('taken over')))).toBeUndefined()
    expect(resultsOf(bench.run({ kind: 'list-locks', name: '' }, put('again')))[0]).toMatchObject({
      kind: 'locks',
      locks: [{ name: 'l', holders: [{ client: 2, expiresMs: 1_200 }] }],
    })
  })

  it('are not among the attributes, and cannot be forged', () => {
    const bench = new Bench(put('x'), { kind: 'set-xattr', name: 'a', value: text('1') })
    bench.run(take)
    const [xattrs] = resultsOf(bench.execute({ kind: 'get-xattrs' }, { kind: 'create', exclusive: false }))
    expect(xattrs).toMatchObject({ xattrs: new Map([['a', text('1')]]) })
    expect(codeOf(bench.execute({ kind: 'set-xattr', name: '_lock.l', value: text('') }))).toBe('EINVAL')
    expect(codeOf(bench.execute({ kind: 'remove-xattr', name: '_lock.l' }))).toBe('ENODATA')
    expect(codeOf(bench.run({ kind: 'unlock', name: 'l', cookie: '' }))).toBeUndefined()
    expect([...(bench.object?.xattrs.keys() ?? [])].sort()).toEqual(['_', 'a'])
  })
})

describe('bytes', () => {
  it('creates, and exclusively only what is not there', () => {
    const bench = new Bench()
    expect(codeOf(bench.run({ kind: 'create', exclusive: true }))).toBeUndefined()
    expect(bench.content).toBe('')
    expect(codeOf(bench.run({ kind: 'create', exclusive: true }))).toBe('EEXIST')
    expect(bench.run({ kind: 'create', exclusive: false })).toMatchObject({ kind: 'done', steps: [] })
  })

  it('writes at an offset, extends, and fills the gap with zeros', () => {
    const bench = new Bench(put('abcdef'))
    bench.run({ kind: 'write', offset: 2, data: text('XY') })
    expect(bench.content).toBe('abXYef')
    bench.run({ kind: 'write', offset: 8, data: text('Z') })
    expect(bench.content).toBe('abXYef\0\0Z')
    bench.run({ kind: 'write', offset: 90, data: text('') })
    expect(bench.content?.length).toBe(9)
  })

  it('appends at the end that the steps before have made', () => {
    const bench = new Bench(put('abc'))
    bench.run(
      { kind: 'append', data: text('d') },
      { kind: 'truncate', sizeBytes: 2 },
      { kind: 'append', data: text('e') },
    )
    expect(bench.content).toBe('abe')
  })

  it('replaces the whole object, longer or shorter or by nothing, and keeps attributes', () => {
    const bench = new Bench(put('abcdef'), { kind: 'set-xattr', name: 'a', value: text('1') })
    for (const value of ['xyz', 'longer than before', '']) {
      bench.run(put(value))
      expect(bench.content).toBe(value)
    }
    expect(bench.object?.xattrs.get('a')).toEqual(text('1'))
  })

  it('truncates both ways, and makes an object of zeros of one that was not there', () => {
    const bench = new Bench(put('abcdef'))
    bench.run({ kind: 'truncate', sizeBytes: 2 })
    bench.run({ kind: 'truncate', sizeBytes: 4 })
    expect(bench.content).toBe('ab\0\0')
    const empty = new Bench()
    empty.run({ kind: 'truncate', sizeBytes: 3 })
    expect(empty.content).toBe('\0\0\0')
  })

  it('zeroes inside the object and never extends it', () => {
    const bench = new Bench(put('abcdef'))
    bench.run({ kind: 'zero', offset: 4, length: 100 })
    expect(bench.content).toBe('abcd\0\0')
    expect(bench.run({ kind: 'zero', offset: 6, length: 1 })).toMatchObject({ kind: 'done', steps: [] })
    const empty = new Bench()
    expect(empty.run({ kind: 'zero', offset: 0, length: 9 })).toMatchObject({ kind: 'done', steps: [] })
    expect(empty.object).toBeUndefined()
  })

  it('removes what is there, with everything, and can begin anew in the same operation', () => {
    const bench = new Bench(put('abc'), { kind: 'set-xattr', name: 'a', value: text('1') }, setOmap(['k', 'v']))
    expect(codeOf(bench.run({ kind: 'remove' }, { kind: 'create', exclusive: true }, put('new')))).toBeUndefined()
    expect([bench.content, bench.object?.xattrs.size, bench.omap]).toEqual(['new', 0, {}])
    bench.run({ kind: 'remove' })
    expect(bench.object).toBeUndefined()
    expect(codeOf(bench.run({ kind: 'remove' }))).toBe('ENOENT')
  })
})

describe('attributes and omap', () => {
  it('sets, replaces and removes attributes', () => {
    const bench = new Bench()
    bench.run({ kind: 'set-xattr', name: 'a', value: text('1') }, { kind: 'set-xattr', name: 'a', value: text('2') })
    expect(bench.object?.xattrs).toEqual(new Map([['a', text('2')]]))
    expect(codeOf(bench.run({ kind: 'remove-xattr', name: 'a' }))).toBeUndefined()
    expect(codeOf(bench.run({ kind: 'remove-xattr', name: 'a' }))).toBe('ENODATA')
    expect(codeOf(new Bench().run({ kind: 'remove-xattr', name: 'a' }))).toBe('ENOENT')
  })

  it('hides its own attribute', () => {
    const bench = new Bench(put('abc'))
    expect(resultsOf(bench.run({ kind: 'get-xattrs' }))).toEqual([{ kind: 'xattrs', xattrs: new Map() }])
    expect(codeOf(bench.run({ kind: 'get-xattr', name: objectAttributeName }))).toBe('ENODATA')
    expect(codeOf(bench.run({ kind: 'remove-xattr', name: objectAttributeName }))).toBe('ENODATA')
    expect(codeOf(bench.run({ kind: 'set-xattr', name: objectAttributeName, value: text('x') }))).toBe('EINVAL')
  })

  it('sets, removes and clears keys, and the header', () => {
    const bench = new Bench()
    bench.run(setOmap(['a', '1'], ['b', '2'], ['c', '3']), { kind: 'omap-set-header', header: text('h') })
    bench.run({ kind: 'omap-remove', keys: [text('b'), text('none')] })
    expect(bench.omap).toEqual({ a: '1', c: '3' })
    expect(bench.object?.omapHeader).toEqual(text('h'))
    bench.run({ kind: 'omap-clear' })
    expect([bench.omap, bench.object?.omapHeader]).toEqual([{}, text('')])
    for (const op of [{ kind: 'omap-clear' }, { kind: 'omap-remove', keys: [text('a')] }] satisfies ObjectOp[]) {
      expect(codeOf(new Bench().run(op))).toBe('ENOENT')
    }
  })

  it('reads what was there before, and what it has just set of attributes', () => {
    const bench = new Bench(put('abcdef'), setOmap(['a', '1'], ['b', '2']))
    const results = resultsOf(
      bench.run(
        { kind: 'read', offset: 2, length: 2 },
        { kind: 'omap-get-keys', keys: [text('b'), text('none')] },
        { kind: 'stat' },
        { kind: 'set-xattr', name: 'n', value: text('new') },
        { kind: 'append', data: text('gh') },
        { kind: 'get-xattr', name: 'n' },
        { kind: 'stat' },
      ),
    )
    expect(results).toEqual([
      { kind: 'data', data: text('cd') },
      { kind: 'omap', entries: [{ key: text('b'), value: text('2') }], more: false },
      { kind: 'stat', sizeBytes: 6, modifiedMs: 5, version: userVersion },
      { kind: 'none' },
      { kind: 'none' },
      { kind: 'data', data: text('new') },
      { kind: 'stat', sizeBytes: 8, modifiedMs: 5, version: userVersion },
    ])
    for (const op of [{ kind: 'read', offset: 0, length: 1 }, { kind: 'stat' }, { kind: 'get-xattrs' }] as ObjectOp[]) {
      expect(codeOf(new Bench().run(op))).toBe('ENOENT')
    }
  })

  it('refuses to read or compare bytes and keys that the same operation has written', () => {
    const bench = new Bench(put('abc'), setOmap(['a', '1']))
    const after: readonly (readonly [ObjectOp, ObjectOp])[] = [
      [put('x'), { kind: 'read', offset: 0, length: 1 }],
      [put('x'), { kind: 'compare-extent', offset: 0, data: text('x') }],
      [setOmap(['a', '2']), { kind: 'omap-get-keys', keys: [text('a')] }],
      [setOmap(['a', '2']), { kind: 'compare-omap', key: text('a'), mode: 'equal', value: text('2') }],
      [{ kind: 'remove' }, { kind: 'compare-omap', key: text('a'), mode: 'equal', value: text('') }],
    ]
    for (const ops of after) expect(codeOf(bench.run(...ops))).toBe('EOPNOTSUPP')
    expect([bench.content, bench.omap]).toEqual(['abc', { a: '1' }])
  })

  it('refuses reads that cannot stand in a write', () => {
    const reads: readonly ObjectOp[] = [
      { kind: 'sparse-read', offset: 0, length: 1 },
      { kind: 'map-extents', offset: 0, length: 1 },
      { kind: 'omap-get-header' },
      { kind: 'omap-get-range', after: undefined, prefix: text(''), limit: 1 },
      { kind: 'list-objects', after: undefined, limit: 1 },
    ]
    for (const op of reads) expect(codeOf(new Bench(put('abc')).run(op, put('x')))).toBe('EOPNOTSUPP')
  })
})

describe('a rollback', () => {
  it('to a clone that was given up as lost fails, and leaves the object as it is', () => {
    const state = new Bench({ kind: 'append', data: text('here') }).store.load({
      object: id,
      omapKeys: [],
      extents: [],
    })
    const lost = { exists: false, sizeBytes: 0, xattrs: new Map(), omap: [], extents: [] }
    const target = { kind: 'clone', object: { ...id, snap: 3 }, state: lost } as const
    const caller = { client: 1, nowMs: 0 }
    expect(executeWrite(simulatedPg, id, [{ kind: 'rollback', snap: 3 }], state, caller, target)).toMatchObject({
      kind: 'failed',
      code: 'ENOENT',
    })
  })
})

describe('guards', () => {
  it.each(compareModes)('compares attributes and keys: %s', (mode) => {
    const holds = { equal: 0, 'not-equal': 0, greater: 0, 'greater-or-equal': 0, less: 0, 'less-or-equal': 0 }
    const bench = new Bench(put(''), { kind: 'set-xattr', name: 'a', value: text('m') }, setOmap(['k', 'm']))
    for (const [at, given] of ['a', 'm', 'z'].entries()) {
      const value = text(given)
      const byXattr = codeOf(bench.execute({ kind: 'compare-xattr', name: 'a', mode, value }))
      expect(codeOf(bench.execute({ kind: 'compare-omap', key: text('k'), mode, value }))).toBe(byXattr)
      expect([undefined, 'ECANCELED']).toContain(byXattr)
      if (byXattr === undefined) holds[mode] += 1 << at
    }
    // Bits: the stored `m` against a, m, z.
    const expected = { equal: 2, 'not-equal': 5, greater: 1, 'greater-or-equal': 3, less: 4, 'less-or-equal': 6 }
    expect(holds[mode]).toBe(expected[mode])
  })

  it('takes what is missing for empty', () => {
    const bench = new Bench()
    const value = text('')
    expect(codeOf(bench.execute({ kind: 'compare-xattr', name: 'a', mode: 'equal', value }))).toBeUndefined()
    expect(codeOf(bench.execute({ kind: 'compare-omap', key: text('k'), mode: 'equal', value }))).toBeUndefined()
    expect(codeOf(bench.execute({ kind: 'compare-omap', key: text('k'), mode: 'greater', value }))).toBe('ECANCELED')
    expect(codeOf(bench.execute({ kind: 'compare-xattr', name: '_', mode: 'equal', value }))).toBeUndefined()
  })

  it('compares bytes, zeros beyond the end', () => {
    const bench = new Bench(put('abc'))
    const compare = (offset: number, data: string): ErrorCode | undefined =>
      codeOf(bench.execute({ kind: 'compare-extent', offset, data: text(data) }))
    expect(compare(1, 'bc')).toBeUndefined()
    expect(compare(1, 'bc\0\0')).toBeUndefined()
    expect(compare(100, '\0')).toBeUndefined()
    expect(compare(1, 'bx')).toBe('ECANCELED')
    expect(compare(1, 'bcd')).toBe('ECANCELED')
    const several = bench.execute(
      { kind: 'compare-extent', offset: 0, data: text('a') },
      { kind: 'read', offset: 1, length: 1 },
      { kind: 'compare-extent', offset: 2, data: text('c') },
    )
    expect(resultsOf(several)[1]).toEqual({ kind: 'data', data: text('b') })
  })

  it('asserts that there is an object, and in which version', () => {
    const bench = new Bench(put('abc'))
    expect(codeOf(bench.execute({ kind: 'assert-version', version: userVersion }))).toBeUndefined()
    expect(codeOf(bench.execute({ kind: 'assert-version', version: userVersion - 1 }))).toBe('ERANGE')
    expect(codeOf(bench.execute({ kind: 'assert-version', version: userVersion + 1 }))).toBe('ERANGE')
    expect(codeOf(bench.execute({ kind: 'assert-exists' }))).toBeUndefined()
    expect(codeOf(new Bench().execute({ kind: 'assert-exists' }))).toBe('ENOENT')
    expect(codeOf(new Bench().execute({ kind: 'assert-version', version: 0 }))).toBe('ENOENT')
  })
})

describe('limits', () => {
  const zeros = (length: number): Uint8Array => new Uint8Array(length)
  const { objectBytesMax, xattrNameBytesMax, xattrValueBytesMax, omapKeyBytesMax, omapValueBytesMax } = opLimits
  const cases: readonly (readonly [string, ObjectOp, ErrorCode])[] = [
    ['a write beyond the largest object', { kind: 'write', offset: objectBytesMax, data: zeros(1) }, 'EFBIG'],
    ['a truncation beyond it', { kind: 'truncate', sizeBytes: objectBytesMax + 1 }, 'EFBIG'],
    ['an attribute without a name', { kind: 'set-xattr', name: '', value: zeros(1) }, 'EINVAL'],
    ['a long name', { kind: 'set-xattr', name: 'ä'.repeat(xattrNameBytesMax / 2 + 1), value: zeros(1) }, 'EINVAL'],
    ['a long value', { kind: 'set-xattr', name: 'a', value: zeros(xattrValueBytesMax + 1) }, 'E2BIG'],
    ['an empty key', { kind: 'omap-set', entries: [{ key: zeros(0), value: zeros(1) }] }, 'EINVAL'],
    ['a long key', { kind: 'omap-set', entries: [{ key: zeros(omapKeyBytesMax + 1), value: zeros(1) }] }, 'EINVAL'],
    ['a long value', { kind: 'omap-set', entries: [{ key: zeros(1), value: zeros(omapValueBytesMax + 1) }] }, 'E2BIG'],
    ['a long header', { kind: 'omap-set-header', header: zeros(omapValueBytesMax + 1) }, 'E2BIG'],
    [
      'too many keys',
      {
        kind: 'omap-set',
        entries: Array.from({ length: opLimits.omapEntriesMax + 1 }, () => ({ key: zeros(1), value: zeros(0) })),
      },
      'E2BIG',
    ],
  ]
  it.each(cases)('refuses %s', (_what, op, code) => {
    expect(codeOf(new Bench().execute(op))).toBe(code)
  })

  it('lets an append fail that would make the object too large', () => {
    const bench = new Bench({ kind: 'truncate', sizeBytes: objectBytesMax })
    expect(codeOf(bench.execute({ kind: 'append', data: zeros(1) }))).toBe('EFBIG')
    expect(codeOf(bench.execute({ kind: 'write', offset: objectBytesMax - 1, data: zeros(1) }))).toBeUndefined()
  })
})

/** What an operation should do, in the simplest words. */
class Model {
  exists = false
  data: number[] = []
  readonly xattrs = new Map<string, string>()
  readonly omap = new Map<string, string>()

  /** False: it fails. */
  apply(op: ObjectOp): boolean {
    const words = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
    switch (op.kind) {
      case 'create':
        if (op.exclusive && this.exists) return false
        break
      case 'write':
      case 'append': {
        const offset = op.kind === 'append' ? this.data.length : op.offset
        if (op.data.length > 0) while (this.data.length < offset) this.data.push(0)
        this.data.splice(offset, op.data.length, ...op.data)
        break
      }
      case 'write-full':
        this.data = [...op.data]
        break
      case 'truncate':
        this.data = Array.from({ length: op.sizeBytes }, (_, at) => this.data[at] ?? 0)
        break
      case 'zero':
        this.data = this.data.map((byte, at) => (at >= op.offset && at < op.offset + op.length ? 0 : byte))
        return true
      case 'remove':
        if (!this.exists) return false
        this.exists = false
        this.data = []
        this.xattrs.clear()
        this.omap.clear()
        return true
      case 'set-xattr':
        this.xattrs.set(op.name, words(op.value))
        break
      case 'remove-xattr':
        return this.exists && this.xattrs.delete(op.name)
      case 'omap-set':
        for (const { key, value } of op.entries) this.omap.set(words(key), words(value))
        break
      case 'omap-remove':
        for (const key of op.keys) this.omap.delete(words(key))
        return this.exists
      case 'omap-clear':
        this.omap.clear()
        return this.exists
      case 'compare-xattr':
        return compareBytes(text(this.xattrs.get(op.name) ?? ''), op.value) === 0
      case 'assert-exists':
        return this.exists
      default:
        throw new Error(`${op.kind} is not modelled`)
    }
    this.exists = true
    return true
  }
}

const small = fc.nat(12)
const data = fc.uint8Array({ maxLength: 8 })
const word = fc.constantFrom('a', 'b', 'c').map(text)
const name = fc.constantFrom('x', 'y')
const anyOp: fc.Arbitrary<ObjectOp> = fc.oneof(
  fc.record({ kind: fc.constant('create' as const), exclusive: fc.boolean() }),
  fc.record({ kind: fc.constant('write' as const), offset: small, data }),
  fc.record({ kind: fc.constant('append' as const), data }),
  fc.record({ kind: fc.constant('write-full' as const), data }),
  fc.record({ kind: fc.constant('truncate' as const), sizeBytes: small }),
  fc.record({ kind: fc.constant('zero' as const), offset: small, length: small }),
  fc.record({ kind: fc.constant('remove' as const) }),
  fc.record({ kind: fc.constant('set-xattr' as const), name, value: word }),
  fc.record({ kind: fc.constant('remove-xattr' as const), name }),
  fc.record({
    kind: fc.constant('omap-set' as const),
    entries: fc.array(fc.record({ key: word, value: word }), { maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant('omap-remove' as const), keys: fc.array(word, { maxLength: 2 }) }),
  fc.record({ kind: fc.constant('omap-clear' as const) }),
  fc.record({ kind: fc.constant('compare-xattr' as const), name, mode: fc.constant('equal' as const), value: word }),
  fc.record({ kind: fc.constant('assert-exists' as const) }),
)

describe('any operations', () => {
  it('do what the model does, and nothing at all when a step fails', () => {
    fc.assert(
      fc.property(fc.array(fc.array(anyOp, { minLength: 1, maxLength: 5 }), { maxLength: 12 }), (operations) => {
        const bench = new Bench()
        let model = new Model()
        for (const ops of operations) {
          const before = bench.store.fingerprint()
          const next = structuredCloneOf(model)
          const failsAt = ops.findIndex((op) => !next.apply(op))
          const execution = bench.run(...ops)
          expect(execution.kind).toBe(failsAt < 0 ? 'done' : 'failed')
          if (execution.kind === 'failed') {
            expect(bench.store.fingerprint()).toEqual(before)
            if (ops.length > 1) expect(execution.detail).toContain(`step ${failsAt} (${ops[failsAt]?.kind})`)
            continue
          }
          model = next
          expect(bench.object !== undefined).toBe(model.exists)
          expect([...(bench.object?.data ?? [])]).toEqual(model.data)
          expect(bench.omap).toEqual(Object.fromEntries(model.omap))
          const xattrs = [...(bench.object?.xattrs ?? [])].map(([key, value]) => [key, new TextDecoder().decode(value)])
          expect(Object.fromEntries(xattrs)).toEqual(Object.fromEntries(model.xattrs))
        }
      }),
      { numRuns: 400 },
    )
  })
})

function structuredCloneOf(model: Model): Model {
  const copy = new Model()
  copy.exists = model.exists
  copy.data = [...model.data]
  for (const [key, value] of model.xattrs) copy.xattrs.set(key, value)
  for (const [key, value] of model.omap) copy.omap.set(key, value)
  return copy
}
