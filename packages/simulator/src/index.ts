export * from './workloads/index.ts'
export * from './checkers/index.ts'
export * from './history.ts'
