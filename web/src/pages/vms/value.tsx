// SPDX-License-Identifier: Apache-2.0
// Any field's value as the description says what it is.
import type { ReactNode } from 'react'
import type { Field } from '@/api/description'
import type { Kind } from '@/api/types'
import { enumLabel, t } from '@/i18n'
import { number } from '@/i18n/format'
import { Dash, RefLink, Size, Tags } from '@/ui/text'

export function fieldValue(field: Field, value: unknown): ReactNode {
  if (value === undefined || value === null || value === '' || (Array.isArray(value) && !value.length)) return <Dash />
  if (field.type === 'boolean') return t(value ? 'ui.yes' : 'ui.no')
  if (field.values) return [value].flat().map((one) => enumLabel(field.schema, String(one))).join(' → ')
  if (field.ref) {
    return [value].flat().map((id, index) => (
      <span key={String(id)}>
        {index ? ', ' : null}
        <RefLink kind={field.ref as Kind} id={String(id)} />
      </span>
    ))
  }
  if (field.unit === 'bytes') return <Size value={Number(value)} />
  if (typeof value === 'number') return number(value)
  if (Array.isArray(value)) return <Tags tags={value.map(String)} />
  return <span className="tarn-text">{String(value)}</span>
}
