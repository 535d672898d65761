export * from './monitor-map.ts'
export * from './osd-map.ts'
export * from './pg-stats.ts'
