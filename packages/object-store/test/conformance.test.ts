import type { CompressionAlgorithm } from '@shoal/base'
import { FileObjectStore, type MountOptions } from '../src/index.ts'
import { compressAll } from './compress-all.ts'
import { describeObjectStore } from './conformance.ts'
import { FakeMachine } from './fake-machine.ts'
import { ReferenceStore } from './reference-store.ts'

describeObjectStore('the reference', async () => {
  const store = new ReferenceStore()
  return { store, reopen: async () => store }
})

const size = { sizeBytes: 4 << 20, journalBytes: 512 * 1024 }
const storeKey = new Uint8Array(32).fill(9)

function file(name: string, options: MountOptions, algorithm?: CompressionAlgorithm): void {
  describeObjectStore(name, async () => {
    const machine = new FakeMachine(7)
    const env = machine.env()
    await FileObjectStore.create(env, '/store', { ...size, storeKey: options.storeKey })
    const mount = async (): Promise<FileObjectStore> => {
      const mounted = await FileObjectStore.mount(env, '/store', options)
      if (algorithm !== undefined) compressAll(mounted, algorithm)
      return mounted
    }
    let store = await mount()
    return {
      store,
      compressible: algorithm !== undefined,
      reopen: async () => {
        await store.close()
        store = await mount()
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

for (const algorithm of ['lz4', 'zlib', 'brotli'] as const) {
  file(`a store that compresses with ${algorithm}`, { largeWriteBytes: 12_288, dirtyBytesMax: 60_000 }, algorithm)
}

file('an encrypted store', { storeKey })
file(
  'an encrypted store that compresses, with hardly any memory',
  {
    storeKey,
    metaCacheBytes: 3000,
    dataCacheBytes: 9000,
    dirtyBytesMax: 20_000,
    pendingBytesMax: 50_000,
    largeWriteBytes: 8192,
  },
  'lz4',
)
