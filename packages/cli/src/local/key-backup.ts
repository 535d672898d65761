/**
 * A file with the keys of all encrypted stores, for the day on which all monitors are lost. It opens with a passphrase
 * (scrypt, RFC 7914, with 128 MiB; then AES-256-GCM) and with nothing else: neither monitors nor keyring are needed.
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { ClusterError, hexDecode, hexEncode } from '@shoal/base'
import { z } from 'zod'

const cost = { N: 2 ** 17, r: 8, p: 1 }
/** What a file may ask for: a forged one must not take the machine's memory. */
const costMax = { N: 2 ** 20, r: 16, p: 4 }
const memoryBytesMax = 2 ** 31
const passphraseMin = 8

const fileSchema = z.object({
  shoalKeyBackup: z.literal(1),
  fsid: z.string(),
  scrypt: z.object({
    N: z.number().int().min(2).max(costMax.N),
    r: z.number().int().min(1).max(costMax.r),
    p: z.number().int().min(1).max(costMax.p),
    salt: z.string(),
  }),
  nonce: z.string(),
  sealed: z.string(),
  tag: z.string(),
})

const contentSchema = z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/))

export interface KeyBackup {
  readonly fsid: string
  /** By the uuid of the OSD. */
  readonly keys: ReadonlyMap<string, Uint8Array>
}

/** Replaces nothing: EEXIST. */
export async function writeKeyBackup(path: string, passphrase: string, { fsid, keys }: KeyBackup): Promise<void> {
  if (passphrase.length < passphraseMin) {
    throw new ClusterError('EINVAL', `a passphrase has at least ${passphraseMin} characters`)
  }
  const salt = randomBytes(16)
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', await derive(passphrase, salt, cost), nonce)
  cipher.setAAD(Buffer.from(fsid))
  const content = Object.fromEntries([...keys].map(([uuid, key]) => [uuid, hexEncode(key)]))
  const sealed = Buffer.concat([cipher.update(JSON.stringify(content), 'utf8'), cipher.final()])
  const file: z.input<typeof fileSchema> = {
    shoalKeyBackup: 1,
    fsid,
    scrypt: { ...cost, salt: hexEncode(salt) },
    nonce: hexEncode(nonce),
    sealed: hexEncode(sealed),
    tag: hexEncode(cipher.getAuthTag()),
  }
  try {
    writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true })
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw new ClusterError(exists ? 'EEXIST' : 'EIO', `${path} cannot be written`, {
      cause,
      hint: exists ? 'choose another name: it may be the backup of keys that are needed' : 'is its directory there?',
    })
  }
}

/** Throws ENOENT or EINVAL for a file that is none, EACCES for a wrong passphrase or a changed file. */
export async function readKeyBackup(path: string, passphrase: string): Promise<KeyBackup> {
  const file = parse(path)
  const bytes = (text: string): Uint8Array => hexDecode(text) ?? new Uint8Array(0)
  const { salt, ...asked } = file.scrypt
  const decipher = createDecipheriv('aes-256-gcm', await derive(passphrase, bytes(salt), asked), bytes(file.nonce))
  decipher.setAAD(Buffer.from(file.fsid))
  let text: string
  try {
    decipher.setAuthTag(bytes(file.tag))
    text = Buffer.concat([decipher.update(bytes(file.sealed)), decipher.final()]).toString('utf8')
  } catch (cause) {
    throw new ClusterError('EACCES', `the passphrase does not open ${path}, or the file was changed`, { cause })
  }
  const content = contentSchema.parse(JSON.parse(text))
  return { fsid: file.fsid, keys: new Map(Object.entries(content).map(([uuid, key]) => [uuid, bytes(key)])) }
}

function parse(path: string): z.output<typeof fileSchema> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'ENOENT' : 'EACCES'
    throw new ClusterError(code, `${path} cannot be read`, { cause })
  }
  try {
    return fileSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new ClusterError('EINVAL', `${path} is no backup of keys`, { cause, hint: 'shoal osd key backup FILE' })
  }
}

function derive(passphrase: string, salt: Uint8Array, asked: typeof cost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, 32, { ...asked, maxmem: memoryBytesMax }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
}
