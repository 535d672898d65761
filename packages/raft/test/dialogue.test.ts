/** Plays test/dialogues/*.txt. With SHOAL_REWRITE=1 it writes what was said instead: read the difference before you commit it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Dialogue } from './support/dialogue.ts'

const folder = new URL('dialogues/', import.meta.url)

function play(script: string): string {
  const dialogue = new Dialogue()
  const said: string[] = []
  for (const line of script.split('\n')) {
    if (line.startsWith('  ')) continue
    said.push(line)
    if (line !== '' && !line.startsWith('#')) for (const printed of dialogue.run(line)) said.push(`  ${printed}`)
  }
  return said.join('\n')
}

describe('dialogues', () => {
  it.each(readdirSync(folder).sort())('%s', (name) => {
    const file = new URL(name, folder)
    const script = readFileSync(file, 'utf8')
    const said = play(script)
    if (process.env['SHOAL_REWRITE'] === '1') writeFileSync(file, said)
    else expect(said).toBe(script)
  })
})
