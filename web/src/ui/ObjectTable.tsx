// SPDX-License-Identifier: Apache-2.0
// A table of a kind's objects, paged, filtered and sorted by the manager and kept true by the stream. What is searched and how
// it is sorted stands in the address, so that "back" and links work.
import { Button, Checkbox, Dropdown, DropdownItem, DropdownList, FormSelect, FormSelectOption, MenuToggle, SearchInput, Toolbar, ToolbarContent, ToolbarGroup, ToolbarItem } from '@patternfly/react-core'
import AngleLeftIcon from '@patternfly/react-icons/dist/esm/icons/angle-left-icon'
import AngleRightIcon from '@patternfly/react-icons/dist/esm/icons/angle-right-icon'
import ColumnsIcon from '@patternfly/react-icons/dist/esm/icons/columns-icon'
import SearchIcon from '@patternfly/react-icons/dist/esm/icons/search-icon'
import { Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table'
import { useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from 'react'
import { useSearchParams } from 'react-router-dom'
import { actionsFor, isEnabled, nameOf } from '@/actions'
import { useRunAction } from '@/actions/ActionHost'
import { schemaName } from '@/api/kinds'
import { schemas } from '@/api/description'
import type { Kind, Kinds } from '@/api/types'
import { enumLabel, fieldLabel, kindLabel, t } from '@/i18n'
import { useList } from '@/live/hooks'
import { contains, eq, type Term } from '@/live/match'
import { actionItems, ActionMenu } from './ActionMenu'
import { Empty, Loading } from './Empty'
import { ErrorAlert } from './ErrorAlert'
import { isBetween, isChoices, remembered } from './remembered'

export interface Column<K extends Kind> {
  /** A field's path; its label is the field's unless `label` says otherwise. */
  key: string
  label?: string
  render?: (object: Kinds[K]) => ReactNode
  /** The field to sort by; without it the column cannot be sorted. */
  sort?: string
  /** A field of an enumeration: the toolbar gets a choice of its values. */
  choose?: boolean
  width?: 10 | 15 | 20 | 25 | 30 | 35 | 40 | 45 | 50
  /** Left out on narrow screens. */
  wide?: boolean
  /** May be left out or shown as people like: 'shown' or 'hidden' until they choose. */
  optional?: 'shown' | 'hidden'
}

interface Props<K extends Kind> {
  kind: K
  columns: Column<K>[]
  /** What always holds, e.g. [eq('server', id)]. */
  filter?: Term[]
  /** The field that the search box searches; default name. */
  search?: string
  sort?: string
  /** Buttons at the right of the toolbar, e.g. "Create". */
  tools?: ReactNode
  /** Offered for rows and selections; default the kind's registered ones. Rows: false for none. */
  actions?: boolean
  /** Above the list when nothing is in it and nothing is searched. */
  empty?: ReactNode
  /** Distinguishes several tables on one page in the address. */
  id?: string
  /** More to narrow the list with, in the toolbar; what it narrows to goes into filter. */
  narrow?: { node: ReactNode; active: boolean; clear: () => void }
  /** What opens below a row. */
  expand?: (object: Kinds[K]) => ReactNode
  label?: string
  limit?: number
}

const LIMITS = [20, 50, 100]
/** Columns of names, which people make as long as they may. */
const NAMES = new Set(['name', 'title', 'object', 'vm', 'server', 'template', 'repository', 'pool'])

/** The value, a moment after it has stopped changing. */
export function useSettled<T>(value: T, ms = 200) {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(value), ms)
    return () => window.clearTimeout(timer)
  }, [value, ms])
  return settled
}

/** Which of the optional columns are shown; remembered in this browser. */
function useColumns<K extends Kind>(kind: K, all: Column<K>[]) {
  const stored = `tarn.columns.${kind}`
  const [chosen, setChosen] = useState(() => remembered(stored, isChoices, {}))
  const isShown = (column: Column<K>) => !column.optional || (chosen[column.key] ?? column.optional === 'shown')
  const toggle = (column: Column<K>) => {
    const next = { ...chosen, [column.key]: !isShown(column) }
    localStorage.setItem(stored, JSON.stringify(next))
    setChosen(next)
  }
  return { columns: all.filter(isShown), optional: all.filter((column) => column.optional), isShown, toggle }
}

function ColumnsMenu<K extends Kind>({ kind, optional, isShown, toggle }: { kind: K; optional: Column<K>[]; isShown: (column: Column<K>) => boolean; toggle: (column: Column<K>) => void }) {
  const [open, setOpen] = useState(false)
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      popperProps={{ position: 'end' }}
      toggle={(ref) => <MenuToggle ref={ref} variant="plain" isExpanded={open} aria-label={t('ui.columns')} onClick={() => setOpen(!open)} icon={<ColumnsIcon />} />}
    >
      <DropdownList>
        {optional.map((column) => (
          <DropdownItem key={column.key} hasCheckbox isSelected={isShown(column)} onClick={() => toggle(column)}>
            {column.label ?? fieldLabel(schemaName(kind), column.key)}
          </DropdownItem>
        ))}
      </DropdownList>
    </Dropdown>
  )
}

export function ObjectTable<K extends Kind>(props: Props<K>) {
  const { kind, narrow, filter = [], search = 'name', tools, actions = true, empty, id = '', expand, label } = props
  const { columns, ...choice } = useColumns(kind, props.columns)
  const [address, setAddress] = useSearchParams()
  const key = (name: string) => (id ? `${id}.${name}` : name)
  const set = (changes: Record<string, string | undefined>) =>
    setAddress(
      (old) => {
        const next = new URLSearchParams(old)
        for (const [name, value] of Object.entries(changes)) {
          if (value) next.set(key(name), value)
          else next.delete(key(name))
        }
        return next
      },
      { replace: true },
    )

  const [typed, setTyped] = useState(address.get(key('q')) ?? '')
  const text = useSettled(typed)
  useEffect(() => {
    if (text !== (address.get(key('q')) ?? '')) set({ q: text || undefined })
    // Only what was typed leads to a new address, not the other way round.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [text])
  const sort = address.get(key('sort')) ?? props.sort
  const [limit, setLimit] = useState(() => props.limit ?? remembered('tarn.rows', isBetween(LIMITS[0], LIMITS[LIMITS.length - 1]), 50))
  const chosen = props.columns.filter((column) => column.choose).flatMap((column) => (address.get(key(column.key)) ? [eq(column.key, address.get(key(column.key))!)] : []))
  const terms = [...filter, ...chosen, ...(text ? [contains(search, text)] : [])]
  const question = JSON.stringify([kind, terms, sort, limit])
  const [cursors, setCursors] = useState<{ question: string; stack: string[] }>({ question, stack: [] })
  const stack = cursors.question === question ? cursors.stack : []
  const page = useList(kind, { filter: terms, sort, limit, after: stack[stack.length - 1] })

  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  const shown = page.items.filter((o) => selected.has(o.id!))
  const run = useRunAction()
  const bulk = actions ? actionsFor(kind).filter((action) => action.bulk) : []
  const hasRows = actions && actionsFor(kind).length > 0
  const [menu, setMenu] = useState(false)
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set())
  // One that is wider than the page is scrolled with the keyboard too.
  const scroll = useRef<HTMLDivElement>(null)
  const [wide, setWide] = useState(false)
  useLayoutEffect(() => {
    const box = scroll.current
    if (box && box.scrollWidth > box.clientWidth !== wide) setWide(!wide)
  }, [page.items, wide])
  const lastClicked = useRef<number | undefined>(undefined)
  const searching = text !== '' || chosen.length > 0 || !!narrow?.active

  const select = (index: number, on: boolean, range: boolean) => {
    const from = range && lastClicked.current !== undefined ? Math.min(lastClicked.current, index) : index
    const to = range && lastClicked.current !== undefined ? Math.max(lastClicked.current, index) : index
    lastClicked.current = index
    setSelected((old) => {
      const next = new Set(old)
      page.items.slice(from, to + 1).forEach((o) => (on ? next.add(o.id!) : next.delete(o.id!)))
      return next
    })
  }
  const toggle = (object: string) =>
    setOpened((old) => {
      const next = new Set(old)
      if (!next.delete(object)) next.add(object)
      return next
    })
  const sorted = useMemo(() => (sort?.startsWith('-') ? { field: sort.slice(1), direction: 'desc' as const } : { field: sort ?? '', direction: 'asc' as const }), [sort])

  if (page.loading && !page.items.length && !page.error) return <Loading />
  if (!page.loading && !page.items.length && !searching && !page.error && !stack.length) {
    return <>{empty ?? <Empty title={t('ui.none_of', { kind: kindLabel(kind, true) })} actions={tools} />}</>
  }
  const colSpan = columns.length + (bulk.length ? 1 : 0) + (expand ? 1 : 0) + (hasRows ? 1 : 0)
  return (
    <div className="tarn-table">
      <Toolbar>
        <ToolbarContent>
          <ToolbarGroup variant="filter-group">
            <ToolbarItem>
              <SearchInput
                className="tarn-table__search"
                aria-label={t('ui.search_in', { kind: kindLabel(kind, true) })}
                placeholder={t('ui.search_by', { field: fieldLabel(schemaName(kind), search).toLowerCase() })}
                value={typed}
                onChange={(_e, value) => setTyped(value)}
                onClear={() => setTyped('')}
                resetButtonLabel={t('ui.clear')}
              />
            </ToolbarItem>
            {props.columns
              .filter((column) => column.choose)
              .map((column) => {
                const field = schemas[schemaName(kind)].fields[column.key]
                const name = column.label ?? fieldLabel(schemaName(kind), column.key)
                return (
                  <ToolbarItem key={column.key}>
                    <FormSelect aria-label={name} value={address.get(key(column.key)) ?? ''} onChange={(_e, value) => set({ [column.key]: value })}>
                      <FormSelectOption value="" label={t('ui.any', { field: name })} />
                      {(field?.values ?? []).map((value) => (
                        <FormSelectOption key={value} value={value} label={enumLabel(field?.schema, value)} />
                      ))}
                    </FormSelect>
                  </ToolbarItem>
                )
              })}
            {narrow?.node}
          </ToolbarGroup>
          {shown.length ? (
            <ToolbarGroup>
              <ToolbarItem alignSelf="center">{t('ui.selected', { count: shown.length })}</ToolbarItem>
              <ToolbarItem>
                <Dropdown
                  isOpen={menu}
                  onSelect={() => setMenu(false)}
                  onOpenChange={setMenu}
                  toggle={(ref) => (
                    <MenuToggle ref={ref} isExpanded={menu} onClick={() => setMenu(!menu)}>
                      {t('ui.actions')}
                    </MenuToggle>
                  )}
                >
                  <DropdownList>
                    {menu
                      ? actionItems(bulk, shown, (action) => run(action, shown.filter((object) => isEnabled(action, [object]))))
                      : null}
                  </DropdownList>
                </Dropdown>
              </ToolbarItem>
            </ToolbarGroup>
          ) : null}
          <ToolbarGroup align={{ default: 'alignEnd' }}>
            {choice.optional.length ? (
              <ToolbarItem>
                <ColumnsMenu kind={kind} {...choice} />
              </ToolbarItem>
            ) : null}
            {tools ? <ToolbarItem>{tools}</ToolbarItem> : null}
          </ToolbarGroup>
        </ToolbarContent>
      </Toolbar>
      <ErrorAlert error={page.error} />
      <div className="tarn-table__scroll" ref={scroll} {...(wide ? { tabIndex: 0, role: 'group', 'aria-label': label ?? kindLabel(kind, true) } : {})}>
        <Table aria-label={label ?? kindLabel(kind, true)} variant="compact" isStickyHeader>
          <Thead>
            <Tr>
              {expand ? <Th screenReaderText={t('ui.details')} /> : null}
              {bulk.length ? (
                <Th>
                  <Checkbox
                    id={`select-${kind}${id}`}
                    aria-label={t('ui.select_page')}
                    isChecked={page.items.length > 0 && shown.length === page.items.length ? true : shown.length ? null : false}
                    onChange={(_e, on) => setSelected(new Set(on ? page.items.map((o) => o.id!) : []))}
                  />
                </Th>
              ) : null}
              {columns.map((column) => (
                <Th
                  key={column.key}
                  modifier="nowrap"
                  width={column.width}
                  className={column.wide ? 'tarn-wide' : undefined}
                  sort={
                    column.sort
                      ? {
                          columnIndex: 0,
                          sortBy: { index: sorted.field === column.sort ? 0 : 1, direction: sorted.direction },
                          onSort: () => set({ sort: sorted.field === column.sort && sorted.direction === 'asc' ? `-${column.sort}` : column.sort! }),
                        }
                      : undefined
                  }
                >
                  {column.label ?? fieldLabel(schemaName(kind), column.key)}
                </Th>
              ))}
              {hasRows ? <Th screenReaderText={t('ui.actions')} /> : null}
            </Tr>
          </Thead>
          {page.items.map((object, index) => {
            const name = nameOf(kind, object)
            const isOpen = opened.has(object.id!)
            return (
              <Tbody key={object.id} isExpanded={isOpen}>
                <Tr isRowSelected={selected.has(object.id!)}>
                  {expand ? <Td expand={{ rowIndex: index, isExpanded: isOpen, onToggle: () => toggle(object.id!) }} /> : null}
                  {bulk.length ? (
                    <Td>
                      <Checkbox
                        id={`row-${object.id}`}
                        aria-label={t('ui.select_name', { name })}
                        isChecked={selected.has(object.id!)}
                        onChange={(event, on) => select(index, on, (event.nativeEvent as MouseEvent).shiftKey)}
                      />
                    </Td>
                  ) : null}
                  {columns.map((column) => (
                    <Td key={column.key} dataLabel={column.label ?? fieldLabel(schemaName(kind), column.key)} className={['tarn-cell', column.wide ? 'tarn-wide' : '', NAMES.has(column.key) ? 'tarn-cell--name' : ''].filter(Boolean).join(' ')} title={column.key === 'name' ? name : undefined}>
                      {column.render ? column.render(object) : plain(valueOf(object, column.key))}
                    </Td>
                  ))}
                  {hasRows ? (
                    <Td isActionCell>
                      <ActionMenu kind={kind} object={object} label={name} />
                    </Td>
                  ) : null}
                </Tr>
                {expand && isOpen ? (
                  <Tr isExpanded>
                    <Td colSpan={colSpan}>{expand(object)}</Td>
                  </Tr>
                ) : null}
              </Tbody>
            )
          })}
        </Table>
        {!page.items.length && searching && !page.loading ? <Empty small icon={SearchIcon} title={t('ui.nothing_found')} actions={<Button variant="link" onClick={() => { setTyped(''); set(Object.fromEntries(props.columns.map((column) => [column.key, undefined]))); narrow?.clear() }}>{t('ui.clear_filters')}</Button>} /> : null}
      </div>
      <div className="tarn-table__foot">
        <span className="tarn-dim">{page.total !== undefined ? t('ui.total', { count: page.total }) : null}</span>
        <span className="tarn-table__pager">
          <FormSelect
            aria-label={t('ui.rows_per_page')}
            value={limit}
            onChange={(_e, value) => {
              localStorage.setItem('tarn.rows', value)
              setLimit(Number(value))
            }}
          >
            {[...new Set([...LIMITS, limit])].sort((a, b) => a - b).map((n) => (
              <FormSelectOption key={n} value={n} label={t('ui.rows', { count: n })} />
            ))}
          </FormSelect>
          <Button variant="plain" aria-label={t('ui.previous_page')} isDisabled={!stack.length} icon={<AngleLeftIcon />} onClick={() => setCursors({ question, stack: stack.slice(0, -1) })} />
          <span>{t('ui.page', { page: stack.length + 1 })}</span>
          <Button variant="plain" aria-label={t('ui.next_page')} isDisabled={!page.next} icon={<AngleRightIcon />} onClick={() => page.next && setCursors({ question, stack: [...stack, page.next] })} />
        </span>
      </div>
    </div>
  )
}

function valueOf(object: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], object)
}

function plain(value: unknown): ReactNode {
  if (value === undefined || value === null || value === '') return <span className="tarn-dim">–</span>
  if (typeof value === 'boolean') return t(value ? 'ui.yes' : 'ui.no')
  return String(value)
}
