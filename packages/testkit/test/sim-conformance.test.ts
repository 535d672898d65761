/** The simulated Env under the suites that the real one passes. */
import { diskConformance, keyValueConformance, type MakeSubject, networkConformance } from '@shoal/testkit/conformance'
import { makeSimEnv } from '../src/index.ts'

const makeSubject: MakeSubject = async () => {
  const { world, env } = makeSimEnv({ seed: 11, ioDelayMs: { min: 0.1, max: 2 } })
  await world.time.settle(env.disk.makeDirectory('/data'))
  return { env, directory: '/data', run: (work) => world.time.settle(work()), close: async () => undefined }
}

diskConformance('simulated', makeSubject)
keyValueConformance('simulated', makeSubject)
networkConformance('simulated', makeSubject)
