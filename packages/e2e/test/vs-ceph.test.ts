/** The comparison with Ceph on our side alone: every row runs, on a small image and for a moment, and says what it must. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { rows } from '../../../bench/vs-ceph/fio.ts'

const bench = fileURLToPath(new URL('../../../bench/vs-ceph.ts', import.meta.url))

test('each row moves bytes, and tells what they cost', async () => {
  const words = ['--only', 'shoal', '--rounds', '1', '--seconds', '1', '--ramp', '0', '--mib', '64']
  const options = ['--conditions=source', '--import', 'tsx', bench, ...words]
  const said = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, options, (error, _, stderr) =>
      error === null ? resolve(stderr) : reject(new Error(stderr, { cause: error })),
    )
  })
  const measured = said.split('\n').flatMap((line) => {
    const [row, figures] = line.split(': shoal ')
    return row === undefined || figures === undefined ? [] : [{ row, figures: Object.values(JSON.parse(figures)) }]
  })
  expect(measured.map(({ row }) => row)).toEqual(rows.map(({ name }) => name))
  for (const { figures } of measured) for (const figure of figures) expect(figure).toBeGreaterThan(0)
}, 300_000)
