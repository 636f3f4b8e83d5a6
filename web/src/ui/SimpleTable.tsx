// SPDX-License-Identifier: Apache-2.0
import { Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table'
import type { ReactNode } from 'react'

/** A few rows that are all here already; lists of objects are an ObjectTable. */
export function SimpleTable({ label, head, rows, empty }: { label: string; head: ReactNode[]; rows: ReactNode[][]; empty?: ReactNode }) {
  if (!rows.length && empty) return <>{empty}</>
  return (
    <Table aria-label={label} variant="compact" borders={rows.length > 1}>
      <Thead>
        <Tr>
          {head.map((cell, index) => (
            <Th key={index}>{cell}</Th>
          ))}
        </Tr>
      </Thead>
      <Tbody>
        {rows.map((row, index) => (
          <Tr key={index}>
            {row.map((cell, column) => (
              <Td key={column} dataLabel={typeof head[column] === 'string' ? head[column] : undefined}>
                {cell}
              </Td>
            ))}
          </Tr>
        ))}
      </Tbody>
    </Table>
  )
}
