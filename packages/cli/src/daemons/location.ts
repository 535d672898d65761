import { hostname } from 'node:os'

/** Where CRUSH puts this machine's OSDs unless an operator moves them. */
export function localLocation(): Readonly<Record<string, string>> {
  const host = hostname()
    .split('.')[0]
    ?.replaceAll(/[^A-Za-z0-9_-]/g, '-')
  return { root: 'default', host: host === undefined || host === '' ? 'localhost' : host }
}
