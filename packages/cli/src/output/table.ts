/** Plain tables as Ceph prints them: a header in capitals, two spaces between columns, numbers to the right. */

export interface Column<Row> {
  readonly title: string
  readonly cell: (row: Row) => string | number | undefined
  readonly align?: 'left' | 'right'
}

export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines: readonly string[][] = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => String(column.cell(row) ?? '-'))),
  ]
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] as string).length)))
  return lines
    .map((line) =>
      line
        .map((text, at) =>
          columns[at]?.align === 'right' ? text.padStart(widths[at] as number) : text.padEnd(widths[at] as number),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Name and value pairs, one a line, values aligned. */
export function formatPairs(pairs: readonly (readonly [name: string, value: string | number])[]): string {
  const width = Math.max(0, ...pairs.map(([name]) => name.length))
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')
}
