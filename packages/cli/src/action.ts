/** Runs one command's body: a context in, its connections closed after it, failures as text or JSON and an exit code. */
import type { Command } from 'commander'
import { CommandContext, type GlobalOptions } from './context.ts'
import { asClusterError, describeFailure, exitCodeOf, failureAsJson } from './output/failure.ts'

type Body = (
  context: CommandContext,
  args: readonly string[],
  options: Readonly<Record<string, unknown>>,
) => Promise<void> | void

/** `args` are the positional arguments in order (missing optional ones are left out), `options` the command's own. */
export function action(command: Command, body: Body): Command {
  return command.action(async (...parameters: unknown[]) => {
    const self = parameters.at(-1) as Command
    const context = new CommandContext(self.optsWithGlobals<GlobalOptions & object>())
    try {
      await body(context, self.args, self.opts())
    } catch (cause) {
      const error = asClusterError(cause)
      process.exitCode = exitCodeOf(error)
      if (context.options.format === 'json') process.stdout.write(`${JSON.stringify(failureAsJson(error))}\n`)
      else process.stderr.write(`${describeFailure(error, context.options.verbose === true)}\n`)
    } finally {
      await context.close()
    }
  })
}
