/** What a side accepts of the other, and what two sides agree on. */
import { ClusterError } from '@shoal/base'

/** How the two sides prove who they are: not at all, or by a secret that the whole cluster shares. Codes on the wire. */
export const authentications = ['none', 'secret'] as const
export type Authentication = (typeof authentications)[number]

/** How frames travel: as they are, with checksums, or sealed by AES-256-GCM. Codes on the wire. */
export const encryptions = ['crc', 'secure'] as const
export type Encryption = (typeof encryptions)[number]

export const secretBytes = 32

export interface MessengerSecurity {
  /** What is accepted, in order of preference; the connecting side's order decides. */
  readonly authentications: readonly Authentication[]
  readonly encryptions: readonly Encryption[]
  /** The cluster's key, of 32 bytes; undefined only where `secret` is not accepted. */
  readonly secret: Uint8Array | undefined
}

export const openSecurity: MessengerSecurity = { authentications: ['none'], encryptions: ['crc'], secret: undefined }

/** As people write them, under Ceph's names where it has them: words in order of preference. */
export interface SecuritySettings {
  /** `none`, `secret`, or both. Default: `secret` with a key, else `none`. */
  readonly ms_auth?: string | undefined
  /** `crc`, `secure`, or both. Default: `crc secure` with a key, else `crc`. */
  readonly ms_mode?: string | undefined
}

/** Throws EINVAL for words that mean nothing or do not go together, EACCES for a key that is missing. */
export function securityFrom(settings: SecuritySettings, secret: Uint8Array | undefined): MessengerSecurity {
  const accepted = wordsIn('ms_auth', settings.ms_auth ?? (secret === undefined ? 'none' : 'secret'), authentications)
  const modes = wordsIn(
    'ms_mode',
    settings.ms_mode ?? (accepted.includes('secret') ? 'crc secure' : 'crc'),
    encryptions,
  )
  const security = { authentications: accepted, encryptions: modes, secret }
  checkSecurity(security)
  return security
}

export function checkSecurity({ authentications, encryptions, secret }: MessengerSecurity): void {
  if (authentications.includes('secret') && secret === undefined) {
    throw new ClusterError('EACCES', 'authentication by secret needs the key of the cluster', {
      hint: "name its file with --keyring FILE; `shoal up` made it as 'keyring' in the directory of the cluster",
    })
  }
  if (secret !== undefined && secret.length !== secretBytes) {
    throw new ClusterError('EINVAL', `the key of the cluster has ${secretBytes} bytes, not ${secret.length}`)
  }
  // A key that nobody has proven to know protects from nobody.
  if (authentications.includes('none') && !encryptions.includes('crc')) {
    throw new ClusterError('EINVAL', 'ms_mode secure needs ms_auth secret', { hint: "set ms_auth to 'secret'" })
  }
}

function wordsIn<T extends string>(setting: string, text: string, known: readonly T[]): readonly T[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== '')
  const sound = words.filter((word): word is T => known.includes(word as T))
  if (words.length === 0 || sound.length < words.length || new Set(sound).size < sound.length) {
    throw new ClusterError('EINVAL', `${setting} cannot be '${text}'`, {
      hint: `one or more of: ${known.join(' ')}; the first is preferred`,
    })
  }
  return sound
}

export interface Agreement {
  readonly authentication: Authentication
  readonly encryption: Encryption
}

interface Offer {
  readonly authentications: readonly Authentication[]
  readonly encryptions: readonly Encryption[]
}

/** The same on both sides, from what both have said. Throws EACCES with what does not fit. */
export function agree(
  sides: { readonly connecting: Offer; readonly accepting: Offer },
  theirs: Offer & { readonly name: string },
): Agreement {
  const { connecting, accepting } = sides
  const ours = theirs === connecting ? accepting : connecting
  const authentication = connecting.authentications.find((word) => accepting.authentications.includes(word))
  if (authentication === undefined) {
    throw new ClusterError(
      'EACCES',
      `${theirs.name} accepts authentication ${listed(theirs.authentications)}, this side ${listed(ours.authentications)}`,
      {
        hint: ours.authentications.includes('secret')
          ? `give ${theirs.name} the keyring of the cluster, or upgrade it if it is of an earlier version`
          : 'name the keyring of the cluster with --keyring FILE',
      },
    )
  }
  // Without a secret there is nothing to make keys of.
  const encryption = connecting.encryptions.find(
    (word) => accepting.encryptions.includes(word) && (authentication === 'secret' || word === 'crc'),
  )
  if (encryption === undefined) {
    throw new ClusterError(
      'EACCES',
      `${theirs.name} accepts mode ${listed(theirs.encryptions)}, this side ${listed(ours.encryptions)}`,
      { hint: 'give both sides a common ms_mode' },
    )
  }
  return { authentication, encryption }
}

function listed(words: readonly string[]): string {
  return words.length === 0 ? 'of another version' : words.join(' or ')
}
