/**
 * Shows on real processes what an object store must survive, a line for each point with what was seen. Exit code 0: all of
 * it held; 1: something did not; 2: the command line.
 *
 *   node scripts/show-rados.mjs [SECTION...]
 */
import { sections } from './sections.ts'

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => sections[name] === undefined)
if (unknown.length > 0) {
  process.stderr.write(
    `usage: show-rados [SECTION...]\n  sections: ${Object.keys(sections).join(', ')} (default: all)\n`,
  )
  process.exit(unknown.includes('--help') ? 0 : 2)
}

for (const [name, show] of Object.entries(sections)) {
  if (asked.length > 0 && !asked.includes(name)) continue
  const startedMs = performance.now()
  try {
    await show((what) => process.stdout.write(`${name}: ${what}\n`))
    process.stdout.write(`${name}: held, ${((performance.now() - startedMs) / 1000).toFixed(0)} s\n`)
  } catch (error) {
    process.stdout.write(`${name}: FAILED: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
