/**
 * Codecs by composition: a shape is written once and read by the same description.
 *
 * Persisted and exchanged types are wrapped in {@link versioned}: a version byte, the lowest version whose reader can
 * still make sense of it, and a length, so that an older reader skips fields that a newer writer appended (the scheme
 * of Ceph's ENCODE_START). Fields are only ever appended.
 */
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import { ClusterError } from './errors.ts'

export interface Codec<T> {
  write(writer: ByteWriter, value: T): void
  read(reader: ByteReader): T
}

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new ByteWriter()
  codec.write(writer, value)
  return writer.finish()
}

/** Throws EBADMSG on malformed input and on left-over bytes. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new ByteReader(bytes)
  const value = codec.read(reader)
  reader.end()
  return value
}

/** Brands and narrower number types ride on the plain codecs: `u32<Epoch>()`. */
export const u8 = <T extends number = number>(): Codec<T> => ({ write: (w, v) => w.u8(v), read: (r) => r.u8() as T })
export const u16 = <T extends number = number>(): Codec<T> => ({ write: (w, v) => w.u16(v), read: (r) => r.u16() as T })
export const u32 = <T extends number = number>(): Codec<T> => ({ write: (w, v) => w.u32(v), read: (r) => r.u32() as T })
export const u64 = <T extends number = number>(): Codec<T> => ({ write: (w, v) => w.u64(v), read: (r) => r.u64() as T })
export const f64 = (): Codec<number> => ({ write: (w, v) => w.f64(v), read: (r) => r.f64() })
export const boolean = (): Codec<boolean> => ({ write: (w, v) => w.boolean(v), read: (r) => r.boolean() })
export const bytes = (): Codec<Uint8Array> => ({ write: (w, v) => w.bytes(v), read: (r) => r.bytes() })
export const string = <T extends string = string>(): Codec<T> => ({
  write: (w, v) => w.string(v),
  read: (r) => r.string() as T,
})

export function optional<T>(inner: Codec<T>): Codec<T | undefined> {
  return {
    write(writer, value) {
      writer.boolean(value !== undefined)
      if (value !== undefined) inner.write(writer, value)
    },
    read: (reader) => (reader.boolean() ? inner.read(reader) : undefined),
  }
}

export function array<T>(inner: Codec<T>): Codec<readonly T[]> {
  return {
    write(writer, values) {
      writer.u32(values.length)
      for (const value of values) inner.write(writer, value)
    },
    read(reader) {
      const count = reader.count()
      const values: T[] = []
      for (let i = 0; i < count; i++) values.push(inner.read(reader))
      return values
    },
  }
}

/** Entries in the map's own order; a key that comes twice is malformed. */
export function map<K, V>(key: Codec<K>, value: Codec<V>): Codec<ReadonlyMap<K, V>> {
  return {
    write(writer, entries) {
      writer.u32(entries.size)
      for (const [k, v] of entries) {
        key.write(writer, k)
        value.write(writer, v)
      }
    },
    read(reader) {
      const count = reader.count()
      const entries = new Map<K, V>()
      for (let i = 0; i < count; i++) entries.set(key.read(reader), value.read(reader))
      if (entries.size !== count) throw new ClusterError('EBADMSG', 'a map key comes twice')
      return entries
    },
  }
}

/** One of a fixed list of words, as its index in one byte. Append new words at the end. */
export function oneOf<const T extends string>(words: readonly T[]): Codec<T> {
  return {
    write(writer, word) {
      writer.u8(words.indexOf(word))
    },
    read(reader) {
      const index = reader.u8()
      const word = words[index]
      if (word === undefined) throw new ClusterError('EBADMSG', `unknown choice ${index} among ${words.join(', ')}`)
      return word
    },
  }
}

/** The fields in the order in which they are listed. */
export function struct<T extends object>(fields: { readonly [K in keyof T]-?: Codec<T[K]> }): Codec<T> {
  const entries = Object.entries(fields) as [keyof T, Codec<T[keyof T]>][]
  return {
    write(writer, value) {
      for (const [name, codec] of entries) codec.write(writer, value[name])
    },
    read(reader) {
      const value = {} as T
      for (const [name, codec] of entries) value[name] = codec.read(reader)
      return value
    },
  }
}

/** u8 version, u8 lowest version of a reader that can read it, u32 length, body. Later fields of the body are skipped. */
export function versioned<T>(
  version: number,
  compatible: number,
  what: string,
  body: { write(writer: ByteWriter, value: T): void; read(reader: ByteReader, version: number): T },
): Codec<T> {
  return {
    write(writer, value) {
      writer.u8(version).u8(compatible)
      const lengthAt = writer.length
      writer.u32(0)
      body.write(writer, value)
      writer.patchU32(lengthAt, writer.length - lengthAt - 4)
    },
    read(reader) {
      const theirs = reader.u8()
      const needs = reader.u8()
      if (needs > version) {
        throw new ClusterError(
          'EPROTO',
          `${what} version ${theirs} needs a reader of version ${needs}, this one is ${version}`,
          {
            hint: 'upgrade this daemon first',
          },
        )
      }
      const outer = reader.enter(reader.u32())
      const value = body.read(reader, theirs)
      reader.leave(outer)
      return value
    },
  }
}
