/** What people write in settings and keyrings, and what they are told when it makes no sense. */
import { formatKeyring, openSecurity, parseKeyring, securityFrom } from '@shoal/messenger'
import { describe, expect, test } from 'vitest'
import { clusterKey } from './support/security.ts'

describe('settings', () => {
  test('say nothing: a key is used when there is one, and either mode will do', () => {
    expect(securityFrom({}, undefined)).toEqual(openSecurity)
    expect(securityFrom({}, clusterKey)).toEqual({
      authentications: ['secret'],
      encryptions: ['crc', 'secure'],
      secret: clusterKey,
    })
  })

  test('are words in order of preference', () => {
    expect(securityFrom({ ms_auth: 'secret,none', ms_mode: ' secure  crc ' }, clusterKey)).toMatchObject({
      authentications: ['secret', 'none'],
      encryptions: ['secure', 'crc'],
    })
  })

  test.each([
    [{ ms_auth: 'kerberos' }, 'EINVAL', "ms_auth cannot be 'kerberos'"],
    [{ ms_auth: '' }, 'EINVAL', "ms_auth cannot be ''"],
    [{ ms_mode: 'crc crc' }, 'EINVAL', "ms_mode cannot be 'crc crc'"],
    [{ ms_auth: 'none', ms_mode: 'secure' }, 'EINVAL', 'ms_mode secure needs ms_auth secret'],
    [{ ms_auth: 'secret' }, 'EACCES', 'authentication by secret needs the key of the cluster'],
  ])('%o make no sense', (settings, code, message) => {
    expect(() => securityFrom(settings, undefined)).toThrow(expect.objectContaining({ code, message }))
  })
})

describe('a keyring', () => {
  test('is read as it was written', () => {
    expect(formatKeyring(clusterKey)).toContain('key = AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n')
    expect(parseKeyring(formatKeyring(clusterKey))).toEqual(clusterKey)
    expect(parseKeyring(`key=${Buffer.from(clusterKey).toString('base64')}\r\n\n# done`)).toEqual(clusterKey)
  })

  test.each([
    '',
    'key = ',
    'key = QUJD',
    'AQID',
    'key = ?',
    `${formatKeyring(clusterKey)}${formatKeyring(clusterKey)}`,
  ])('%j is none', (text) => {
    expect(() => parseKeyring(text)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})
