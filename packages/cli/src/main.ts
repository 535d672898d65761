/** The `shoal` command. */
import { CommanderError } from 'commander'
import { buildProgram } from './program.ts'

/** Wrong words on the command line exit as EINVAL does. */
const usageExitCode = 22

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of a pipe (`| head`) has gone: nothing is left to say.
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

try {
  await buildProgram().parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? 0 : usageExitCode
}
