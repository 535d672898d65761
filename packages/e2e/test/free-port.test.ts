/** Clusters that are made at the same moment on one machine do not get each other's ports. */
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../../cli/src/local/free-port.ts'

test('a preferred port is given once, until its daemon has had the time to bind it', async () => {
  const preferred = await freePort('127.0.0.1', 0)
  try {
    const ports = await Promise.all(Array.from({ length: 8 }, () => freePort('127.0.0.1', preferred)))
    expect(ports.filter((port) => port === preferred)).toHaveLength(1)
    expect(await freePort('127.0.0.1', preferred)).not.toBe(preferred)
  } finally {
    await rm(join(tmpdir(), `shoal-port-${preferred}`), { force: true })
  }
})
