export { ClusterClient, type ClusterClientOptions } from './cluster-client.ts'
export { type ObjectStat, type OperationOptions, type OperationOutcome, PoolHandle } from './pool-handle.ts'
