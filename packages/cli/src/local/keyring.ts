/** The file with the cluster's key, and what the settings of a cluster or a command make of it. */
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { ClusterError } from '@shoal/base'
import {
  formatKeyring,
  type MessengerSecurity,
  parseKeyring,
  type SecuritySettings,
  secretBytes,
  securityFrom,
} from '@shoal/messenger'

const readableByOthers = 0o007

/** Throws EEXIST rather than replace a key that a cluster may depend on. */
export function createKeyring(path: string, secret: Uint8Array = randomBytes(secretBytes)): void {
  try {
    writeFileSync(path, formatKeyring(secret), { mode: 0o600, flag: 'wx', flush: true })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw new ClusterError('EEXIST', `${path} exists`, { cause, hint: 'it is the key of a cluster; keep it' })
  }
}

/** Throws EACCES or ENOENT for a file that cannot be read, EACCES for one that everybody can, EINVAL for no keyring. */
export function readKeyring(path: string): Uint8Array {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'ENOENT' : 'EACCES'
    throw new ClusterError(code, `the keyring ${path} cannot be read`, {
      cause,
      hint: "--keyring FILE names it; 'keyring' in the directory of the cluster is its original",
    })
  }
  try {
    if ((fstatSync(file).mode & readableByOthers) !== 0) {
      throw new ClusterError('EACCES', `everybody on this machine can read the key in ${path}`, {
        hint: `chmod 600 ${path}`,
      })
    }
    return parseKeyring(readFileSync(file, 'utf8'))
  } finally {
    closeSync(file)
  }
}

export interface SecuritySources {
  /** Named by a person: must be there. */
  readonly keyring?: string | undefined
  /** Of the cluster's directory: used when it is there. */
  readonly defaultKeyring?: string | undefined
  readonly settings: SecuritySettings
}

/** Throws what `securityFrom` throws, and what a keyring throws that is not as it should be. */
export function loadSecurity({ keyring, defaultKeyring, settings }: SecuritySources): MessengerSecurity {
  const path = keyring ?? (defaultKeyring !== undefined && existsSync(defaultKeyring) ? defaultKeyring : undefined)
  return securityFrom(settings, path === undefined ? undefined : readKeyring(path))
}
