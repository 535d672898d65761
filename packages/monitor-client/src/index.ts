export * from './monitor-client.ts'
