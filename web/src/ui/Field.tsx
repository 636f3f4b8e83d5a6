// SPDX-License-Identifier: Apache-2.0
// A field of a form as the description has it: text, number, size, switch, choice, list of words, or another object.
import { FormGroup, FormHelperText, FormSelect, FormSelectOption, HelperText, HelperTextItem, InputGroup, InputGroupItem, Label, LabelGroup, NumberInput, Switch, TextArea, TextInput } from '@patternfly/react-core'
import { useState, type ReactNode } from 'react'
import { enumLabel, fieldHelp, fieldLabel } from '@/i18n'
import { number, size } from '@/i18n/format'
import type { Kind } from '@/api/types'
import type { Term } from '@/live/match'
import { fieldAt, type FormState } from './form'
import { OrderInput, RefsInput } from './ListInputs'
import { RefPicker } from './RefPicker'

interface Props {
  form: FormState
  /** e.g. memory, disks[0].size */
  path: string
  label?: string
  help?: ReactNode
  /** A text of several lines. */
  lines?: number
  disabled?: boolean
  /** Which objects may be chosen, for a field that refers to one. */
  filter?: Term[]
  /** Choices left out. */
  hide?: string[]
  /** What an absent value means, in words; default the description's default. */
  absent?: string
  type?: 'password'
  autoComplete?: string
}

const UNITS: [string, number][] = [
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
]

export function idOf(path: string) {
  return 'field-' + path.replace(/[^\w]+/g, '-')
}

/** Bytes as a number and its unit. */
export function SizeInput({ id, value, onChange, invalid, disabled, label }: { id: string; value: number | undefined; onChange: (bytes: number | undefined) => void; invalid?: boolean; disabled?: boolean; label: string }) {
  const fitting = (bytes: number) => [...UNITS].reverse().find(([, length]) => bytes >= length && bytes % length === 0) ?? UNITS[0]
  const [unit, setUnit] = useState(value ? fitting(value)[0] : 'GiB')
  const length = UNITS.find(([name]) => name === unit)![1]
  return (
    <InputGroup>
      <InputGroupItem>
        <NumberInput
          className="tarn-number"
          inputName={id}
          inputAriaLabel={label}
          minusBtnAriaLabel="−"
          plusBtnAriaLabel="+"
          min={0}
          widthChars={7}
          isDisabled={disabled}
          validated={invalid ? 'error' : 'default'}
          inputProps={{ id }}
          value={value === undefined ? '' as unknown as number : Number((value / length).toFixed(3))}
          onMinus={() => onChange(Math.max(0, Math.ceil((value ?? 0) / length) - 1) * length)}
          onPlus={() => onChange((Math.floor((value ?? 0) / length) + 1) * length)}
          onChange={(event) => {
            const typed = (event.target as HTMLInputElement).value
            onChange(typed === '' ? undefined : Math.round(Number(typed) * length))
          }}
        />
      </InputGroupItem>
      <InputGroupItem>
        <FormSelect
          aria-label={label}
          value={unit}
          isDisabled={disabled}
          onChange={(_e, name) => {
            const next = UNITS.find(([one]) => one === name)![1]
            setUnit(name)
            if (value !== undefined) onChange(Math.round(value / length) * next)
          }}
        >
          {UNITS.map(([name]) => (
            <FormSelectOption key={name} value={name} label={name} />
          ))}
        </FormSelect>
      </InputGroupItem>
    </InputGroup>
  )
}

/** A list of words, e.g. tags: Enter or a comma ends one. */
export function WordsInput({ id, value, onChange, disabled, label }: { id: string; value: string[]; onChange: (words: string[]) => void; disabled?: boolean; label: string }) {
  const [typed, setTyped] = useState('')
  const add = () => {
    const words = typed.split(',').map((word) => word.trim()).filter((word) => word && !value.includes(word))
    if (words.length) onChange([...value, ...words])
    setTyped('')
  }
  return (
    <div className="tarn-words">
      {value.length ? (
        <LabelGroup numLabels={20} aria-label={label}>
          {value.map((word) => (
            <Label key={word} isCompact onClose={disabled ? undefined : () => onChange(value.filter((one) => one !== word))} closeBtnAriaLabel={`× ${word}`}>
              {word}
            </Label>
          ))}
        </LabelGroup>
      ) : null}
      <TextInput
        id={id}
        value={typed}
        isDisabled={disabled}
        onChange={(_e, v) => setTyped(v)}
        onBlur={add}
        onKeyDown={(event) => {
          if (event.key === 'Enter' || event.key === ',') {
            event.preventDefault()
            add()
          } else if (event.key === 'Backspace' && !typed) onChange(value.slice(0, -1))
        }}
      />
    </div>
  )
}

export function Field(props: Props) {
  const { form, path, lines, disabled, filter, hide = [], absent } = props
  const { field, schema, name } = fieldAt(form.schema, path)
  const id = idOf(path)
  const label = props.label ?? fieldLabel(schema, name)
  const help = props.help ?? fieldHelp(schema, name)
  const error = form.error(path)
  const value = form.get(path)
  const shown = value ?? (field.fromTemplate ? undefined : field.default)
  const set = (next: unknown) => form.set(path, next)
  const validated = error ? 'error' : 'default'
  const describedBy = error || help ? id + '-help' : undefined

  let input: ReactNode
  if (field.type === 'boolean') {
    input = <Switch id={id} label={label} isChecked={shown === true} isDisabled={disabled} onChange={(_e, on) => set(on)} aria-describedby={describedBy} />
  } else if (field.values && !field.array) {
    input = (
      <FormSelect id={id} value={String(shown ?? '')} isDisabled={disabled} validated={validated} onChange={(_e, v) => set(v || undefined)} aria-describedby={describedBy}>
        {shown === undefined || absent ? <FormSelectOption value="" label={absent ?? '–'} /> : null}
        {field.values
          .filter((one) => !hide.includes(one))
          .map((one) => (
            <FormSelectOption key={one} value={one} label={enumLabel(field.schema, one)} />
          ))}
      </FormSelect>
    )
  } else if (field.values) {
    input = <OrderInput id={id} label={label} schema={field.schema} values={field.values} value={(shown as string[] | undefined) ?? []} onChange={set} disabled={disabled} />
  } else if (field.ref && field.array) {
    input = <RefsInput id={id} label={label} kind={field.ref as Kind} value={(value as string[] | undefined) ?? []} onChange={set} filter={filter} disabled={disabled} invalid={!!error} />
  } else if (field.ref) {
    input = <RefPicker id={id} kind={field.ref as Kind} value={value as string | undefined} filter={filter} disabled={disabled} placeholder={absent} invalid={!!error} onChange={set} label={label} />
  } else if (field.type === 'integer' && field.unit === 'bytes') {
    input = <SizeInput id={id} label={label} value={shown as number | undefined} onChange={set} invalid={!!error} disabled={disabled} />
  } else if (field.type === 'integer' || field.type === 'number') {
    const n = shown as number | undefined
    input = (
      <NumberInput
        className="tarn-number"
        inputProps={{ id, 'aria-describedby': describedBy }}
        inputAriaLabel={label}
        minusBtnAriaLabel="−"
        plusBtnAriaLabel="+"
        min={field.min}
        max={field.max}
        widthChars={6}
        isDisabled={disabled}
        validated={validated}
        value={n ?? ('' as unknown as number)}
        onMinus={() => set(Math.max(field.min ?? -Infinity, (n ?? 0) - 1))}
        onPlus={() => set(Math.min(field.max ?? Infinity, (n ?? 0) + 1))}
        onChange={(event) => {
          const typed = (event.target as HTMLInputElement).value
          set(typed === '' ? undefined : Number(typed))
        }}
      />
    )
  } else if (field.array && field.type === 'string') {
    input = <WordsInput id={id} label={label} value={(shown as string[] | undefined) ?? []} onChange={set} disabled={disabled} />
  } else if (lines) {
    input = <TextArea id={id} value={String(shown ?? '')} rows={lines} resizeOrientation="vertical" isDisabled={disabled} validated={validated} onChange={(_e, v) => set(v)} onBlur={() => form.touch(path)} aria-describedby={describedBy} spellCheck={false} />
  } else {
    input = <TextInput id={id} type={props.type ?? 'text'} value={String(shown ?? '')} isDisabled={disabled} validated={validated} onChange={(_e, v) => set(v)} onBlur={() => form.touch(path)} aria-describedby={describedBy} autoComplete={props.autoComplete ?? 'off'} spellCheck={false} />
  }
  return (
    <FormGroup label={field.type === 'boolean' ? undefined : label} fieldId={id} isRequired={form.creating && field.required && field.type !== 'boolean'}>
      {input}
      {error || help ? (
        <FormHelperText>
          <HelperText id={describedBy} isLiveRegion={!!error}>
            <HelperTextItem variant={error ? 'error' : 'default'}>{error ?? help}</HelperTextItem>
          </HelperText>
        </FormHelperText>
      ) : null}
    </FormGroup>
  )
}

/** "1 to 255", "16 MiB to 16 TiB": what a number may be. */
export function rangeOf(schema: string, path: string): string {
  const { field } = fieldAt(schema, path)
  const show = (n: number) => (field.unit === 'bytes' ? size(n) : number(n))
  return `${field.min === undefined ? '' : show(field.min)} – ${field.max === undefined ? '' : show(field.max)}`
}
