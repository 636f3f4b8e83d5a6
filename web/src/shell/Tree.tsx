// SPDX-License-Identifier: Apache-2.0
// The inventory as a tree. A node's children are asked for when it is opened, a page at a time, and follow the stream; what
// is open is remembered. Keyboard as in any tree: arrows, Home, End, letters, Enter, the menu key.
import AngleDownIcon from '@patternfly/react-icons/dist/esm/icons/angle-down-icon'
import AngleRightIcon from '@patternfly/react-icons/dist/esm/icons/angle-right-icon'
import { createContext, memo, useCallback, useContext, useEffect, useId, useMemo, useRef, useState, type KeyboardEvent, type MouseEvent, type ReactNode } from 'react'
import { useLocation, useNavigate } from 'react-router-dom'
import { isKind, schemaName } from '@/api/kinds'
import { schemas } from '@/api/description'
import { can } from '@/api/session'
import type { Kind } from '@/api/types'
import { enumLabel, kindLabel, t } from '@/i18n'
import { useList, useObject } from '@/live/hooks'
import { eq, type Term } from '@/live/match'
import { errorText } from '@/ui/ErrorAlert'
import { isStrings, remembered } from '@/ui/remembered'
import { ContextMenu, type MenuAt } from './ContextMenu'
import { KindIcon } from './KindIcon'
import { listPath, pathFor } from './paths'

const PAGE = 100
const REMEMBERED = 'tarn.tree'

interface TreeObject {
  id: string
  name: string
  state?: string
  maintenance?: string
}

/** What hangs below an object: kinds with the filter that finds them. */
function branchesOf(kind: string, id: string): { kind: Kind; filter: Term[] }[] {
  if (kind === 'pool') return [{ kind: 'server', filter: [eq('pool', id)] }, { kind: 'vm', filter: [eq('pool', id), eq('server', '')] }]
  if (kind === 'server') return [{ kind: 'vm', filter: [eq('server', id)] }]
  return []
}

interface Context {
  open: ReadonlySet<string>
  toggle: (key: string, on?: boolean) => void
  path: string
  go: (path: string) => void
  menu: (event: MouseEvent | KeyboardEvent, kind: Kind, object: TreeObject) => void
}
const TreeContext = createContext<Context>(null!)

interface NodeProps {
  nodeKey: string
  level: number
  icon: ReactNode
  label: string
  hint?: string
  to?: string
  expandable: boolean
  onMenu?: (event: MouseEvent | KeyboardEvent) => void
  children?: () => ReactNode
}

function Node({ nodeKey, level, icon, label, hint, to, expandable, onMenu, children }: NodeProps) {
  const { open, toggle, path, go } = useContext(TreeContext)
  const isOpen = expandable && open.has(nodeKey)
  const current = !!to && (path === to || path.startsWith(to + '/')) && (level > 1 || path === to)
  const group = useId()
  return (
    <li role="none">
      <div
        role="treeitem"
        aria-level={level}
        aria-expanded={expandable ? isOpen : undefined}
        aria-owns={isOpen ? group : undefined}
        aria-selected={current}
        aria-label={hint ? `${label}, ${hint}` : label}
        data-key={nodeKey}
        tabIndex={-1}
        className={`tarn-tree__row${current ? ' tarn-tree__row--current' : ''}`}
        style={{ paddingInlineStart: `${(level - 1) * 1.1 + 0.4}rem` }}
        title={hint ? `${label} – ${hint}` : label}
        onClick={() => (to ? go(to) : toggle(nodeKey))}
        onDoubleClick={() => expandable && toggle(nodeKey)}
        onContextMenu={
          onMenu &&
          ((event) => {
            event.preventDefault()
            onMenu(event)
          })
        }
        onKeyDown={(event) => {
          if (event.key === 'Enter' || event.key === ' ') {
            event.preventDefault()
            if (to) go(to)
            else if (expandable) toggle(nodeKey)
          } else if (onMenu && (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey))) {
            event.preventDefault()
            onMenu(event)
          }
        }}
      >
        <span
          className="tarn-tree__toggle"
          aria-hidden="true"
          onClick={(event) => {
            if (!expandable) return
            event.stopPropagation()
            toggle(nodeKey)
          }}
          onDoubleClick={(event) => event.stopPropagation()}
        >
          {expandable ? isOpen ? <AngleDownIcon /> : <AngleRightIcon /> : null}
        </span>
        {icon}
        <span className="tarn-tree__label">{label}</span>
      </div>
      {isOpen ? (
        <ul role="group" id={group}>
          {children?.()}
        </ul>
      ) : null}
    </li>
  )
}

const ObjectNode = memo(function ObjectNode({ kind, object, level, parent }: { kind: Kind; object: TreeObject; level: number; parent: string }) {
  const { menu } = useContext(TreeContext)
  const key = `${parent}/${kind}:${object.id}`
  const branches = branchesOf(kind, object.id)
  const field = schemas[schemaName(kind)].fields.state
  const maintenance = object.maintenance && object.maintenance !== 'off' ? enumLabel('MaintenanceState', object.maintenance) : undefined
  return (
    <Node
      nodeKey={key}
      level={level}
      icon={<KindIcon kind={kind} state={object.state} maintenance={object.maintenance} />}
      label={object.name}
      hint={maintenance ?? (object.state ? enumLabel(field?.schema, object.state) : undefined)}
      to={pathFor(kind, object.id)}
      expandable={branches.length > 0}
      onMenu={(event) => menu(event, kind, object)}
    >
      {() => branches.map((branch) => <Branch key={branch.kind} kind={branch.kind} filter={branch.filter} level={level + 1} parent={key} quiet={branch.filter.length > 1} />)}
    </Node>
  )
})

/** The children of one kind, page after page. */
function Branch({ kind, filter, level, parent, quiet, after, wanted = 1 }: { kind: Kind; filter: Term[]; level: number; parent: string; quiet?: boolean; after?: string; wanted?: number }) {
  const [more, setMore] = useState(wanted)
  const fields = useMemo(() => ['id', 'revision', 'name', 'state', 'maintenance', ...filter.map((term) => term.field)].filter((name) => name in schemas[schemaName(kind)].fields).join(','), [kind, filter])
  const page = useList(kind, { filter, sort: 'name', limit: PAGE, after, fields })
  const items = page.items as unknown as TreeObject[]
  const note = (text: string) => (
    <li role="none" className="tarn-tree__note" style={{ paddingInlineStart: `${(level - 1) * 1.1 + 1.9}rem` }}>
      {text}
    </li>
  )
  if (!items.length) {
    if (quiet || after) return null
    return note(page.error ? errorText(page.error) : page.loading ? t('ui.loading') : t('shell.tree_empty'))
  }
  return (
    <>
      {items.map((object) => (
        <ObjectNode key={object.id} kind={kind} object={object} level={level} parent={parent} />
      ))}
      {page.next && more > 1 ? <Branch key={page.next} kind={kind} filter={filter} level={level} parent={parent} after={page.next} wanted={more - 1} quiet /> : null}
      {page.next && more === 1 ? (
        <li role="none">
          <div
            role="treeitem"
            aria-level={level}
            aria-selected={false}
            tabIndex={-1}
            data-key={`${parent}/more`}
            className="tarn-tree__more"
            style={{ paddingInlineStart: `${(level - 1) * 1.1 + 1.9}rem` }}
            onClick={() => setMore(2)}
            onKeyDown={(event) => event.key === 'Enter' && setMore(2)}
          >
            {t('shell.tree_more', { count: PAGE })}
          </div>
        </li>
      ) : null}
    </>
  )
}

function Group({ kind, filter, name, leaf }: { kind: Kind; filter?: Term[]; name?: string; leaf?: boolean }) {
  return (
    <Node nodeKey={kind} level={1} icon={<KindIcon kind={kind} />} label={name ?? kindLabel(kind, true)} to={listPath(kind)} expandable={!leaf}>
      {() => <Branch kind={kind} filter={filter ?? NONE} level={2} parent={kind} />}
    </Node>
  )
}
const NONE: Term[] = []
const POOLLESS: Term[] = [eq('pool', '')]

const opened = () => new Set(remembered(REMEMBERED, isStrings, ['pool', 'server']))

/** Opens what leads to the object whose page is shown. */
function Reveal({ toggle }: { toggle: Context['toggle'] }) {
  const { pathname } = useLocation()
  const [, plural, last] = pathname.split('/')
  const id = last === 'create' ? undefined : last
  const kind = !id ? undefined : plural === 'vms' ? 'vm' : plural === 'servers' ? 'server' : undefined
  const vm = useObject('vm', kind === 'vm' ? id : undefined).object
  const serverId = kind === 'server' ? id : vm?.server
  const server = useObject('server', serverId || undefined).object
  const pool = server?.pool || vm?.pool
  const serverKey = server && (server.pool ? `pool/pool:${server.pool}/server:${server.id}` : `server/server:${server.id}`)
  useEffect(() => {
    if (!kind) return
    if (pool) {
      toggle('pool', true)
      toggle(`pool/pool:${pool}`, true)
    } else if (server) toggle('server', true)
    if (kind === 'vm' && serverKey) toggle(serverKey, true)
    // Once for each object that is shown: what one closes afterwards stays closed.
  }, [kind, id, pool, serverKey, server, toggle])
  return null
}

export function Tree() {
  const [open, setOpen] = useState<ReadonlySet<string>>(opened)
  const [menuAt, setMenuAt] = useState<MenuAt>()
  const { pathname } = useLocation()
  const navigate = useNavigate()
  const root = useRef<HTMLUListElement>(null)
  const typed = useRef({ text: '', at: 0 })
  const revealed = useRef(new Set<string>())

  const toggle = useCallback((key: string, on?: boolean) => {
    setOpen((old) => {
      if (on && old.has(key)) return old
      const next = new Set(old)
      if (on || !next.delete(key)) next.add(key)
      localStorage.setItem(REMEMBERED, JSON.stringify([...next].slice(-300)))
      return next
    })
  }, [])
  const reveal = useCallback(
    (key: string) => {
      const once = `${window.location.pathname.split('/').slice(0, 3).join('/')} ${key}`
      if (revealed.current.has(once)) return
      revealed.current.add(once)
      toggle(key, true)
    },
    [toggle],
  )
  const menu = useCallback<Context['menu']>((event, kind, object) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect()
    const pointer = 'clientX' in event && event.clientX > 0
    setMenuAt({ kind, id: object.id, name: object.name, x: pointer ? event.clientX : box.left + 40, y: pointer ? event.clientY : box.top + 24 })
  }, [])
  const context = useMemo<Context>(() => ({ open, toggle, path: pathname, go: (path) => navigate(path), menu }), [open, toggle, pathname, navigate, menu])

  const items = () => [...root.current!.querySelectorAll<HTMLElement>('[role=treeitem]')]
  const focus = (item: HTMLElement | undefined | null) => {
    if (!item) return
    items().forEach((one) => (one.tabIndex = -1))
    item.tabIndex = 0
    item.focus()
    item.scrollIntoView({ block: 'nearest' })
  }
  // One item can be reached with Tab: the one that was last in use.
  useEffect(() => {
    const all = items()
    if (!all.some((one) => one.tabIndex === 0)) (all.find((one) => one.getAttribute('aria-selected') === 'true') ?? all[0])?.setAttribute('tabindex', '0')
  })

  const onKeyDown = (event: KeyboardEvent) => {
    const item = (event.target as HTMLElement).closest<HTMLElement>('[role=treeitem]')
    if (!item || event.ctrlKey || event.altKey || event.metaKey) return
    const all = items()
    const at = all.indexOf(item)
    const expanded = item.getAttribute('aria-expanded')
    const key = item.dataset.key!
    const moves: Record<string, () => void> = {
      ArrowDown: () => focus(all[at + 1]),
      ArrowUp: () => focus(all[at - 1]),
      Home: () => focus(all[0]),
      End: () => focus(all[all.length - 1]),
      ArrowRight: () => (expanded === 'false' ? toggle(key) : expanded === 'true' && focus(all[at + 1])),
      ArrowLeft: () => (expanded === 'true' ? toggle(key) : focus(item.parentElement?.parentElement?.closest('li')?.querySelector<HTMLElement>('[role=treeitem]'))),
    }
    const move = moves[event.key]
    if (move) {
      event.preventDefault()
      move()
    } else if (event.key.length === 1 && event.key !== ' ' && event.key !== '/') {
      const now = Date.now()
      typed.current = { text: now - typed.current.at < 800 ? typed.current.text + event.key.toLowerCase() : event.key.toLowerCase(), at: now }
      const rest = [...all.slice(typed.current.text.length > 1 ? at : at + 1), ...all.slice(0, at)]
      focus(rest.find((one) => one.getAttribute('aria-label')?.toLowerCase().startsWith(typed.current.text)))
    }
  }

  const hasPools = isKind('pool') && can('pool_list')
  return (
    <TreeContext.Provider value={context}>
      <ul
        ref={root}
        className="tarn-tree"
        role="tree"
        aria-label={t('shell.inventory')}
        onKeyDown={onKeyDown}
        onFocus={(event) => {
          const item = (event.target as HTMLElement).closest<HTMLElement>('[role=treeitem]')
          if (item && item.tabIndex !== 0) {
            items().forEach((one) => (one.tabIndex = -1))
            item.tabIndex = 0
          }
        }}
      >
        {hasPools ? <Group kind={'pool' as Kind} /> : null}
        <Group kind="server" filter={hasPools ? POOLLESS : NONE} name={hasPools ? t('shell.servers_without_pool') : undefined} />
        <Group kind="vm" leaf />
        <Group kind="repository" />
        <Group kind="template" />
        {isKind('network') ? <Group kind={'network' as Kind} /> : null}
      </ul>
      <Reveal toggle={reveal} />
      {menuAt ? <ContextMenu at={menuAt} onClose={() => setMenuAt(undefined)} /> : null}
    </TreeContext.Provider>
  )
}
