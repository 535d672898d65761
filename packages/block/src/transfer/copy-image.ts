/** Copies of images that share nothing with what they are copies of: a stream from the one into the other. */
import type { DiffRecord, ImageRecord } from '@shoal/image-streams'
import { parseImageSpec } from '../image-snapshot.ts'
import type { ImageStore } from '../image-store.ts'
import { exportDiff, exportImage } from './export-image.ts'
import { type ImportedImage, type ImportImageOptions, importImage } from './import-image.ts'

/**
 * `IMAGE` with all its snapshots, or `IMAGE@SNAPSHOT` alone, under another name, or in another pool. Holes stay holes; it is
 * not seen under its name before it is whole. EEXIST when the name is taken.
 */
export function copyImage(
  from: ImageStore,
  spec: string,
  to: ImageStore,
  name: string,
  options: ImportImageOptions = {},
): Promise<ImportedImage> {
  const { name: image, snapshot } = parseImageSpec(spec)
  const records = snapshot === undefined ? exportImage(from, image) : atSnapshot(from, image, snapshot)
  return importImage(to, name, records, options)
}

async function* atSnapshot(
  store: ImageStore,
  image: string,
  snapshot: string,
): AsyncGenerator<ImageRecord, void, void> {
  const { objectBytes } = await store.info(image)
  yield { kind: 'order', order: Math.log2(objectBytes) }
  yield { kind: 'diffs', count: 1 }
  for await (const record of exportDiff(store, image, { to: snapshot })) if (!isName(record)) yield record
}

/** The copy begins with what the snapshot shows, and has none itself. */
function isName(record: DiffRecord): boolean {
  return record.kind === 'to'
}
