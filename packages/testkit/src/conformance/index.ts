export { diskConformance } from './disk.ts'
export { keyValueConformance } from './key-value.ts'
export { networkConformance } from './network.ts'
export type { ConformanceSubject, MakeSubject } from './subject.ts'
