/** The ways of two sides to trust each other, for suites that must hold in each. */
import { type MessengerSecurity, openSecurity, securityFrom } from '../../src/security.ts'

export const clusterKey: Uint8Array = Uint8Array.from({ length: 32 }, (_, i) => i + 1)
export const otherKey: Uint8Array = Uint8Array.from({ length: 32 }, (_, i) => i + 2)

export const securities: readonly (readonly [name: string, security: MessengerSecurity])[] = [
  ['none, crc', openSecurity],
  ['secret, crc', securityFrom({ ms_mode: 'crc' }, clusterKey)],
  ['secret, secure', securityFrom({ ms_mode: 'secure' }, clusterKey)],
]
