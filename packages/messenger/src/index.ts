export { loadFrameChecksum, type OutgoingFrame, type ReceivedFrame } from './frame.ts'
export { formatKeyring, parseKeyring } from './keyring.ts'
export { defaultLimits, type MessengerLimits } from './limits.ts'
export {
  Messenger,
  type MessengerCounters,
  type MessengerEnv,
  type MessengerHandler,
  type MessengerOptions,
} from './messenger.ts'
export type { PeerSource } from './peer-inbox.ts'
export { PeerOutbox } from './peer-outbox.ts'
export {
  type MessengerSecurity,
  openSecurity,
  type SecuritySettings,
  secretBytes,
  securityFrom,
} from './security.ts'
export { LossySession, type SessionPeer } from './session.ts'
