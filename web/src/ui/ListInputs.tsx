// SPDX-License-Identifier: Apache-2.0
// Fields that hold several: values of an enumeration in an order, objects of a kind.
import { Button, Label, LabelGroup } from '@patternfly/react-core'
import ArrowDownIcon from '@patternfly/react-icons/dist/esm/icons/arrow-down-icon'
import ArrowUpIcon from '@patternfly/react-icons/dist/esm/icons/arrow-up-icon'
import PlusIcon from '@patternfly/react-icons/dist/esm/icons/plus-icon'
import TimesIcon from '@patternfly/react-icons/dist/esm/icons/times-icon'
import type { Kind } from '@/api/types'
import { enumLabel, t } from '@/i18n'
import { useName } from '@/live/hooks'
import type { Term } from '@/live/match'
import './lists.css'
import { RefPicker } from './RefPicker'

interface OrderProps {
  id: string
  label: string
  schema: string | undefined
  values: readonly string[]
  value: string[]
  onChange: (value: string[]) => void
  disabled?: boolean
}

/** Values in an order, e.g. what is booted from first. */
export function OrderInput({ id, label, schema, values, value, onChange, disabled }: OrderProps) {
  const name = (one: string) => enumLabel(schema, one)
  const swap = (a: number, b: number) => onChange(value.map((one, i) => (i === a ? value[b] : i === b ? value[a] : one)))
  return (
    <div id={id} role="group" aria-label={label}>
      <ol className="tarn-order">
        {value.map((one, index) => (
          <li key={one}>
            <span className="tarn-grow">
              {index + 1}. {name(one)}
            </span>
            <Button variant="plain" size="sm" isDisabled={disabled || index === 0} aria-label={t('form.up', { name: name(one) })} icon={<ArrowUpIcon />} onClick={() => swap(index, index - 1)} />
            <Button variant="plain" size="sm" isDisabled={disabled || index === value.length - 1} aria-label={t('form.down', { name: name(one) })} icon={<ArrowDownIcon />} onClick={() => swap(index, index + 1)} />
            <Button variant="plain" size="sm" isDisabled={disabled} aria-label={t('form.remove', { name: name(one) })} icon={<TimesIcon />} onClick={() => onChange(value.filter((other) => other !== one))} />
          </li>
        ))}
      </ol>
      {values
        .filter((one) => !value.includes(one))
        .map((one) => (
          <Button key={one} variant="link" size="sm" icon={<PlusIcon />} isDisabled={disabled} onClick={() => onChange([...value, one])}>
            {name(one)}
          </Button>
        ))}
    </div>
  )
}

function Chosen({ kind, id, onRemove }: { kind: Kind; id: string; onRemove?: () => void }) {
  const name = useName(kind, id) || '…'
  return (
    <Label isCompact onClose={onRemove} closeBtnAriaLabel={t('form.remove', { name })}>
      {name}
    </Label>
  )
}

interface RefsProps {
  id: string
  label: string
  kind: Kind
  value: string[]
  onChange: (value: string[]) => void
  filter?: Term[]
  disabled?: boolean
  invalid?: boolean
}

/** Several objects of a kind. */
export function RefsInput({ id, label, kind, value, onChange, filter, disabled, invalid }: RefsProps) {
  return (
    <div className="tarn-words">
      {value.length ? (
        <LabelGroup numLabels={50} aria-label={label}>
          {value.map((one) => (
            <Chosen key={one} kind={kind} id={one} onRemove={disabled ? undefined : () => onChange(value.filter((other) => other !== one))} />
          ))}
        </LabelGroup>
      ) : null}
      <RefPicker id={id} kind={kind} label={label} value={undefined} filter={filter} disabled={disabled} invalid={invalid} onChange={(one) => one && !value.includes(one) && onChange([...value, one])} />
    </div>
  )
}
