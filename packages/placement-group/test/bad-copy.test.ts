/** What a copy that fails its checksum should be, when it was written to or removed since it was looked at. */
import { noRequest } from '@shoal/wire'
import { expect, test } from 'vitest'
import { versionOfBadCopy } from '../src/bad-copy.ts'
import { encodeObjectAttribute } from '../src/object-attribute.ts'
import { PgLog } from '../src/pg-log.ts'
import { entry, object, version } from './support.ts'

const attribute = (text: string): Uint8Array =>
  encodeObjectAttribute({ version: version(text), userVersion: 1, modifiedMs: 0, request: noRequest })
const written = entry("modify 1'5 a")
const log = new PgLog(version("1'4"), [written])
const name = object('a')

test('the newer of attribute and log', () => {
  expect(versionOfBadCopy(log, name, attribute("1'3"))).toEqual(version("1'5"))
  expect(versionOfBadCopy(log, name, attribute("1'6"))).toEqual(version("1'6"))
  expect(versionOfBadCopy(log, name, undefined)).toEqual(version("1'5"))
  expect(versionOfBadCopy(log, object('b'), attribute("1'3"))).toEqual(version("1'3"))
  expect(versionOfBadCopy(log, object('b'), undefined)).toBeUndefined()
})

test('nothing that the log has removed', () => {
  const removed = new PgLog(version("1'4"), [{ ...written, kind: 'delete' }])
  expect(versionOfBadCopy(removed, name, attribute("1'3"))).toBe('deleted')
})
