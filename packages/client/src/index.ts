export { ClusterClient, type ClusterClientOptions } from './cluster-client.ts'
export {
  type LockOptions,
  type ObjectStat,
  type OperationOptions,
  type OperationOutcome,
  PoolHandle,
} from './pool-handle.ts'
export { type Notification, Watch, type WatchHandlers, type WatchOptions } from './watch.ts'
