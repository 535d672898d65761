export * from './effects.ts'
