/** Module hooks (they run in a thread of their own): edits the compiled packages while they are loaded. */
import type { InitializeHook, LoadHook } from 'node:module'
import { applyEdit, type Edit } from './planted-bug.ts'

let edits: readonly Edit[] = []

export const initialize: InitializeHook<readonly Edit[]> = (data) => {
  edits = data
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context)
  const mine = edits.filter(({ file }) => url.endsWith(`/packages/${file}`))
  if (mine.length === 0) return loaded
  let source = Buffer.from(loaded.source as Uint8Array).toString('utf8')
  for (const edit of mine) source = applyEdit(source, edit)
  return { ...loaded, source }
}
