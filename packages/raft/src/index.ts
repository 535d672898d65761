export * from './membership.ts'
export * from './messages.ts'
export { RaftNode, type RaftOptions, type Ready, type Role } from './raft-node.ts'
export type { ReadState } from './read-queue.ts'
