/** `shoal df [detail]` for people: the tables that `ceph df detail` shows. */
import type { DfReply, PoolStatsRow } from '@shoal/monitor-client'
import { type Column, formatTable } from '../output/table.ts'
import { formatBytes } from '../output/units.ts'

export function formatDf(df: DfReply, detail: boolean): string {
  const space = formatTable(
    [
      { title: 'SIZE', cell: (row: DfReply) => formatBytes(row.totalBytes), align: 'right' },
      { title: 'AVAIL', cell: (row) => formatBytes(row.availableBytes), align: 'right' },
      { title: 'USED', cell: (row) => formatBytes(row.usedBytes), align: 'right' },
      { title: '%USED', cell: (row) => percent(row.usedBytes, row.totalBytes), align: 'right' },
      { title: 'STORED', cell: (row) => formatBytes(row.bytes), align: 'right' },
      { title: 'OBJECTS', cell: (row) => row.objects, align: 'right' },
    ],
    [df],
  )
  const pgsOf = new Map(df.pools.map((pool) => [pool.id, pool.pgNum]))
  const columns: Column<PoolStatsRow>[] = [
    { title: 'POOL', cell: (row) => row.name },
    { title: 'ID', cell: (row) => row.id, align: 'right' },
    { title: 'PGS', cell: (row) => pgsOf.get(row.id) ?? 0, align: 'right' },
    { title: 'STORED', cell: (row) => formatBytes(row.bytes), align: 'right' },
    { title: 'OBJECTS', cell: (row) => row.objects, align: 'right' },
    { title: 'USED', cell: (row) => formatBytes(row.usedBytes), align: 'right' },
  ]
  if (detail) {
    columns.push(
      { title: 'UNDER COMPR', cell: ({ compression }) => formatBytes(compression.originalBytes), align: 'right' },
      { title: 'COMPRESSED', cell: ({ compression }) => formatBytes(compression.compressedBytes), align: 'right' },
      { title: 'USED COMPR', cell: ({ compression }) => formatBytes(compression.allocatedBytes), align: 'right' },
      { title: 'COMPR OPS', cell: ({ compression }) => compression.operations, align: 'right' },
    )
  }
  return `--- CLUSTER ---\n${space}\n\n--- POOLS ---\n${formatTable(columns, df.stats)}`
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : ((100 * part) / whole).toFixed(2)
}
