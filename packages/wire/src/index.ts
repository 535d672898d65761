export * from './object-id.ts'
export * from './transaction.ts'
export * from './version.ts'
