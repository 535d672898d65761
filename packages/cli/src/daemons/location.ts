import { hostname } from 'node:os'
import { ClusterError } from '@shoal/base'

/** Where CRUSH puts this machine's OSDs unless an operator moves them. */
export function localLocation(): Readonly<Record<string, string>> {
  const host = hostname()
    .split('.')[0]
    ?.replaceAll(/[^A-Za-z0-9_-]/g, '-')
  return { root: 'default', host: host === undefined || host === '' ? 'localhost' : host }
}

/** `host=alpha rack=r1`, each word a bucket type and its name. Whether the type exists, the monitors say. */
export function parseLocation(words: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    words.map((word) => {
      const match = /^([a-z][a-z0-9_-]*)=([A-Za-z0-9_.-]+)$/.exec(word)
      if (match === null) {
        throw new ClusterError('EINVAL', `'${word}' is no place of the CRUSH hierarchy`, {
          hint: 'TYPE=NAME, as in host=alpha rack=r1',
        })
      }
      return [match[1], match[2]] as const
    }),
  )
}
