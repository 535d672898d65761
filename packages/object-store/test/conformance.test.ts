import { FileObjectStore, type MountOptions } from '../src/index.ts'
import { describeObjectStore } from './conformance.ts'
import { FakeMachine } from './fake-machine.ts'
import { ReferenceStore } from './reference-store.ts'

describeObjectStore('the reference', async () => {
  const store = new ReferenceStore()
  return { store, reopen: async () => store }
})

function file(name: string, options: MountOptions): void {
  describeObjectStore(name, async () => {
    const machine = new FakeMachine(7)
    const env = machine.env()
    await FileObjectStore.create(env, '/store', { sizeBytes: 4 << 20, journalBytes: 512 * 1024 })
    let store = await FileObjectStore.mount(env, '/store', options)
    return {
      store,
      reopen: async () => {
        await store.close()
        store = await FileObjectStore.mount(env, '/store', options)
        return store
      },
    }
  })
}

file('a store on files', {})
file('a store on files with hardly any memory', {
  metaCacheBytes: 3000,
  dataCacheBytes: 9000,
  dirtyBytesMax: 20_000,
  pendingBytesMax: 50_000,
  largeWriteBytes: 8192,
})
