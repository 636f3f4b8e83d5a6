// SPDX-License-Identifier: Apache-2.0
// Chooses an object of a kind: a list that the manager searches while one types, so that it serves 30,000 as well as three.
import { Button, MenuToggle, Select, SelectList, SelectOption, TextInputGroup, TextInputGroupMain, TextInputGroupUtilities, type MenuToggleElement } from '@patternfly/react-core'
import TimesIcon from '@patternfly/react-icons/dist/esm/icons/times-icon'
import { useEffect, useState, type ReactNode } from 'react'
import type { AnyObject } from '@/api/kinds'
import type { Kind, Kinds } from '@/api/types'
import { kindLabel, t } from '@/i18n'
import { useList, useName } from '@/live/hooks'
import { contains, type Term } from '@/live/match'
import { useSettled } from './ObjectTable'

interface Props<K extends Kind> {
  id: string
  kind: K
  value: string | undefined
  onChange: (id: string | undefined) => void
  label: string
  filter?: Term[]
  disabled?: boolean
  invalid?: boolean
  placeholder?: string
  /** A line below each name. */
  describe?: (object: Kinds[K]) => ReactNode
  /** Why an object cannot be chosen. */
  refuse?: (object: Kinds[K]) => string | undefined
}

function Choices<K extends Kind>({ kind, text, filter = [], value, describe, refuse }: Pick<Props<K>, 'kind' | 'filter' | 'value' | 'describe' | 'refuse'> & { text: string }) {
  const page = useList(kind, { filter: [...filter, ...(text ? [contains('name', text)] : [])], limit: 50 })
  if (!page.items.length) return <SelectOption isDisabled>{page.loading ? t('ui.loading') : t('ui.none_of', { kind: kindLabel(kind, true) })}</SelectOption>
  return (
    <>
      {page.items.map((object) => {
        const why = refuse?.(object)
        return (
          <SelectOption key={object.id} value={object.id} isSelected={object.id === value} isDisabled={!!why} description={why ?? describe?.(object)}>
            {(object as AnyObject).name}
          </SelectOption>
        )
      })}
      {page.next ? <SelectOption isDisabled>{t('ui.type_to_narrow')}</SelectOption> : null}
    </>
  )
}

export function RefPicker<K extends Kind>(props: Props<K>) {
  const { id, kind, value, onChange, label, disabled, invalid, placeholder } = props
  const [open, setOpen] = useState(false)
  const [typed, setTyped] = useState<string>()
  const text = useSettled(typed ?? '', 150)
  const name = useName(kind, value)
  useEffect(() => {
    if (!open) setTyped(undefined)
  }, [open])
  return (
    <Select
      isOpen={open}
      onOpenChange={setOpen}
      selected={value}
      onSelect={(_e, chosen) => {
        onChange(chosen as string)
        setOpen(false)
        // So that Enter and Tab go on from here.
        document.getElementById(id)?.focus()
      }}
      isScrollable
      maxMenuHeight="20rem"
      toggle={(ref: React.Ref<MenuToggleElement>) => (
        <MenuToggle ref={ref} variant="typeahead" isExpanded={open} isFullWidth isDisabled={disabled} status={invalid ? 'danger' : undefined} onClick={() => setOpen(!open)} aria-label={label}>
          <TextInputGroup isPlain isDisabled={disabled}>
            <TextInputGroupMain
              inputId={id}
              role="combobox"
              isExpanded={open}
              aria-controls={id + '-list'}
              aria-label={label}
              autoComplete="off"
              placeholder={placeholder ?? t('ui.choose', { kind: kindLabel(kind) })}
              value={typed ?? name}
              onClick={() => setOpen(true)}
              onChange={(_e, v) => {
                setTyped(v)
                setOpen(true)
              }}
              onKeyDown={(event) => {
                if (event.key === 'ArrowDown' && !open) setOpen(true)
              }}
            />
            {value && !disabled ? (
              <TextInputGroupUtilities>
                <Button variant="plain" aria-label={t('ui.clear')} icon={<TimesIcon />} onClick={() => onChange(undefined)} />
              </TextInputGroupUtilities>
            ) : null}
          </TextInputGroup>
        </MenuToggle>
      )}
    >
      <SelectList id={id + '-list'}>{open ? <Choices {...props} text={text} /> : null}</SelectList>
    </Select>
  )
}
