/** `node --import .../planted/register.js`: plants the bug that the environment names, and makes the hunt's own settings. */
import { register } from 'node:module'
import type { Edit } from './planted-bug.ts'

const edits = JSON.parse(process.env['SHOAL_SIM_EDITS'] ?? '[]') as readonly Edit[]
register('./loader-hooks.js', import.meta.url, { data: edits })
