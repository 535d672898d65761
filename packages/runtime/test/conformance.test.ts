/** The real machine under the suites that every Env passes. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRealEnv } from '@shoal/runtime'
import { diskConformance, keyValueConformance, type MakeSubject, networkConformance } from '@shoal/testkit/conformance'

const makeSubject: MakeSubject = async () => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-runtime-'))
  return {
    env: createRealEnv({ name: 'test', logLevel: 'error' }),
    directory,
    run: (work) => work(),
    close: () => rm(directory, { recursive: true }),
  }
}

diskConformance('real', makeSubject)
keyValueConformance('real', makeSubject)
networkConformance('real', makeSubject)
