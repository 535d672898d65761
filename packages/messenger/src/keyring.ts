/** The text of a keyring file: the cluster's key and how to recognise it as one. */
import { ClusterError } from '@shoal/base'
import { secretBytes } from './security.ts'

const heading = '# The key of a Shoal cluster. Whoever can read it can read, change and remove all data. Format 1.'

export function formatKeyring(secret: Uint8Array): string {
  return `${heading}\nkey = ${Buffer.from(secret).toString('base64')}\n`
}

/** Throws EINVAL for anything but one key of the right length. */
export function parseKeyring(text: string): Uint8Array {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  const match = /^key\s*=\s*([A-Za-z0-9+/]+={0,2})$/.exec(lines[0] ?? '')
  const secret = new Uint8Array(Buffer.from(match?.[1] ?? '', 'base64'))
  if (lines.length !== 1 || secret.length !== secretBytes) {
    throw new ClusterError('EINVAL', 'not a keyring: one line `key = ` with 32 bytes in base64 is missing', {
      hint: "copy the file 'keyring' from the directory of the cluster",
    })
  }
  return secret
}
