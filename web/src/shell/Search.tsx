// SPDX-License-Identifier: Apache-2.0
// Finds anything by its name, from everywhere: "/" puts the cursor here.
import { SearchInput } from '@patternfly/react-core'
import { useCallback, useEffect, useRef, useState, type KeyboardEvent } from 'react'
import { useNavigate } from 'react-router-dom'
import { call } from '@/api/client'
import { isKind, schemaName } from '@/api/kinds'
import { schemas } from '@/api/description'
import type { SearchResult } from '@/api/types'
import { enumLabel, kindLabel, t } from '@/i18n'
import { errorTitle } from '@/ui/ErrorAlert'
import { KindIcon } from './KindIcon'
import { listPath, pathFor } from './paths'

const PER_KIND = 6
const PAUSE_MS = 25

type Item = SearchResult['items'][number]

/** Kinds without a page lead to where they are listed. */
function target(item: Item) {
  return pathFor(item.kind, item.id) ?? (isKind(item.kind) ? listPath(item.kind) : '/dashboard')
}

/** A key that is meant for the field in which one types is no shortcut. */
function typing(element: Element | null) {
  return element instanceof HTMLElement && (element.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT', 'CANVAS'].includes(element.tagName) || !!element.closest('.xterm, [data-keys]'))
}

export function Search() {
  const [text, setText] = useState('')
  const [found, setFound] = useState<{ text: string; result?: SearchResult; error?: unknown }>({ text: '' })
  const [open, setOpen] = useState(false)
  const [at, setAt] = useState(0)
  const input = useRef<HTMLInputElement>(null)
  const box = useRef<HTMLDivElement>(null)
  const navigate = useNavigate()
  // What Enter was pressed for before it was found: what is shown until then is of another text.
  const hasty = useRef('')

  const choose = useCallback(
    (item: Item | undefined) => {
      if (!item) return
      setOpen(false)
      setText('')
      input.current?.blur()
      navigate(target(item))
    },
    [navigate],
  )

  useEffect(() => {
    const q = text.trim()
    hasty.current = ''
    if (!q) {
      setFound({ text: '' })
      return
    }
    const abort = new AbortController()
    const timer = window.setTimeout(() => {
      call('search', { query: { q, limit: PER_KIND }, signal: abort.signal }).then(
        (result) => {
          setFound({ text: q, result })
          setAt(0)
          if (hasty.current === q) choose(result.items[0])
        },
        (error: unknown) => !abort.signal.aborted && setFound({ text: q, error }),
      )
    }, PAUSE_MS)
    return () => {
      window.clearTimeout(timer)
      abort.abort()
    }
  }, [text, choose])

  useEffect(() => {
    const key = (event: globalThis.KeyboardEvent) => {
      if (event.key !== '/' || event.ctrlKey || event.altKey || event.metaKey || typing(document.activeElement)) return
      event.preventDefault()
      input.current?.focus()
      input.current?.select()
    }
    const outside = (event: Event) => !box.current?.contains(event.target as Node) && setOpen(false)
    document.addEventListener('keydown', key)
    document.addEventListener('pointerdown', outside)
    return () => {
      document.removeEventListener('keydown', key)
      document.removeEventListener('pointerdown', outside)
    }
  }, [])

  const items = found.result?.items ?? []
  const groups = [...new Set(items.map((item) => item.kind))]
  const ordered = groups.flatMap((kind) => items.filter((item) => item.kind === kind))
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault()
      setOpen(true)
      if (ordered.length) setAt((at + (event.key === 'ArrowDown' ? 1 : ordered.length - 1)) % ordered.length)
    } else if (event.key === 'Enter') {
      if (found.text === text.trim() || at > 0) choose(ordered[at])
      else hasty.current = text.trim()
    } else if (event.key === 'Escape') {
      setOpen(false)
      if (!text) input.current?.blur()
    } else if (event.key === 'Tab') setOpen(false)
  }
  useEffect(() => document.getElementById(`found-${at}`)?.scrollIntoView({ block: 'nearest' }), [at])

  const shown = open && text.trim() !== '' && (found.text !== '' || !!found.error)
  return (
    <div className="tarn-search" ref={box}>
      <SearchInput
        ref={input}
        value={text}
        placeholder={t('shell.search_hint')}
        aria-label={t('shell.search')}
        resetButtonLabel={t('ui.clear')}
        onChange={(_e, value) => {
          setText(value)
          setOpen(true)
        }}
        onClear={() => setText('')}
        onFocus={() => setOpen(true)}
        onKeyDown={onKeyDown}
        searchInputId="tarn-search"
        role="combobox"
        aria-expanded={shown}
        aria-controls="tarn-found"
        aria-autocomplete="list"
        aria-activedescendant={shown && ordered.length ? `found-${at}` : undefined}
      />
      {shown ? (
        <div className="tarn-search__found" id="tarn-found" role="listbox" aria-label={t('shell.search_results')}>
          {found.error ? <div className="tarn-search__note">{errorTitle(found.error)}</div> : null}
          {!found.error && !ordered.length ? <div className="tarn-search__note">{t('ui.nothing_found')}</div> : null}
          {groups.map((kind) => {
            const total = found.result?.totals.find((one) => one.kind === kind)?.total ?? 0
            return (
              <div key={kind} role="group" aria-label={kindLabel(kind, true)}>
                <div className="tarn-search__kind">
                  {kindLabel(kind, true)}
                  {total > PER_KIND ? <span className="tarn-dim"> {t('shell.search_total', { shown: PER_KIND, total })}</span> : null}
                </div>
                {items
                  .filter((item) => item.kind === kind)
                  .map((item) => {
                    const index = ordered.indexOf(item)
                    return (
                      <div
                        key={item.id}
                        id={`found-${index}`}
                        role="option"
                        aria-selected={index === at}
                        className={`tarn-search__item${index === at ? ' tarn-search__item--at' : ''}`}
                        onPointerMove={() => setAt(index)}
                        onClick={() => choose(item)}
                      >
                        <KindIcon kind={item.kind} state={item.state} />
                        <span className="tarn-search__name">{item.name}</span>
                        <span className="tarn-dim tarn-search__detail">
                          {[item.detail, item.state && isKind(kind) ? enumLabel(schemas[schemaName(kind)].fields.state?.schema, item.state) : ''].filter(Boolean).join(' · ')}
                        </span>
                      </div>
                    )
                  })}
              </div>
            )
          })}
        </div>
      ) : null}
    </div>
  )
}
