export type { OutgoingFrame, ReceivedFrame } from './frame.ts'
export { Messenger, type MessengerCounters, type MessengerHandler, type MessengerOptions } from './messenger.ts'
export { LossySession, PeerOutbox, type SessionPeer } from './session.ts'
