export * from './messages.ts'
export { majority, RaftNode, type RaftOptions, type Ready, type Role } from './raft-node.ts'
