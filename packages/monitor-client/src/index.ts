export * from './admin/admin.ts'
export * from './admin/grpc-admin.ts'
export * from './admin/memory-admin.ts'
export * from './monitor-client.ts'
