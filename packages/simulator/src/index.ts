export * from './checkers/index.ts'
export * from './history.ts'
export * from './workloads/index.ts'
