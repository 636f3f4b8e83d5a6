// SPDX-License-Identifier: Apache-2.0
import { Card, CardBody, CardHeader, CardTitle, DescriptionList, DescriptionListDescription, DescriptionListGroup, DescriptionListTerm } from '@patternfly/react-core'
import type { ReactNode } from 'react'

/** A card with a title; the page's building block. */
export function Section({ title, actions, children, className }: { title?: ReactNode; actions?: ReactNode; children: ReactNode; className?: string }) {
  return (
    <Card isCompact className={`tarn-section ${className ?? ''}`}>
      {title ? (
        <CardHeader actions={actions ? { actions, hasNoOffset: true } : undefined}>
          <CardTitle component="h2">{title}</CardTitle>
        </CardHeader>
      ) : null}
      <CardBody>{children}</CardBody>
    </Card>
  )
}

/** Names and values; a row whose value is undefined or false is left out. */
export function Properties({ rows, columns }: { rows: [label: string, value: ReactNode][]; columns?: 1 | 2 | 3 }) {
  return (
    <DescriptionList isHorizontal isCompact horizontalTermWidthModifier={{ default: '9rem' }} columnModifier={columns && columns > 1 ? { lg: columns === 2 ? '2Col' : '3Col' } : undefined}>
      {rows
        .filter(([, value]) => value !== undefined && value !== false)
        .map(([label, value]) => (
          <DescriptionListGroup key={label}>
            <DescriptionListTerm>{label}</DescriptionListTerm>
            <DescriptionListDescription>{value === '' ? <span className="tarn-dim">–</span> : value}</DescriptionListDescription>
          </DescriptionListGroup>
        ))}
    </DescriptionList>
  )
}
