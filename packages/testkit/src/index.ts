export { MemoryKeyValueDisk, MemoryKeyValueStores } from './memory-key-value-store.ts'
