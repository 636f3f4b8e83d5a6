// SPDX-License-Identifier: Apache-2.0
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import type { Kind } from '@/api/types'
import { live, LivePage, type Connection, type ListQuery, type ObjectState, type PageState, type StreamMessage } from './store'

/** A page of a list, live. The query may be a new object each time: its content counts. */
export function useList<K extends Kind>(kind: K, query: ListQuery = {}): PageState<K> & { refresh: () => void } {
  const key = JSON.stringify(query)
  const page = useMemo(() => new LivePage(kind, JSON.parse(key) as ListQuery, live), [kind, key])
  const state = useSyncExternalStore(page.subscribe, page.snapshot)
  // The page before is shown until the new one is there: tables do not flicker while somebody types.
  const before = useRef<PageState<K>>(state)
  if (!state.loading) before.current = state
  const shown = state.loading && !state.items.length ? { ...before.current, loading: true } : state
  return { ...shown, refresh: useCallback(() => page.refresh(true), [page]) }
}

/** One object, live; nothing while id is undefined. */
export function useObject<K extends Kind>(kind: K, id: string | undefined): ObjectState<K> {
  const watch = useMemo(() => (id ? live.object(kind, id) : { subscribe: () => () => {}, snapshot: (): ObjectState<K> => EMPTY as ObjectState<K> }), [kind, id])
  return useSyncExternalStore(watch.subscribe, watch.snapshot)
}
const EMPTY = { gone: false }

/** The name of the object that an id refers to. */
export function useName(kind: Kind, id: string | undefined): string {
  return useSyncExternalStore(live.onNames, () => (id ? live.name(kind, id) : ''))
}

export function useConnection(): Connection {
  return useSyncExternalStore(live.onStatus, () => live.connection)
}
export function useReadOnly(): string {
  return useSyncExternalStore(live.onStatus, () => live.readOnly)
}

/** Calls back for each message about a kind. */
export function useTap(kind: Kind, listener: (message: StreamMessage) => void) {
  const latest = useRef(listener)
  latest.current = listener
  useEffect(() => live.tap(kind, (message) => latest.current(message)), [kind])
}

/** Asks again every so often while the page is visible: for what is not on the stream (statistics). */
export function usePolled<T>(ask: (signal: AbortSignal) => Promise<T>, everyMs: number, keys: unknown[]): { value?: T; error?: Error; refresh: () => void } {
  const key = JSON.stringify(keys)
  const [state, setState] = useState<{ key: string; value?: T; error?: Error }>({ key })
  const [again, setAgain] = useState(0)
  const latest = useRef(ask)
  latest.current = ask
  useEffect(() => {
    const abort = new AbortController()
    let timer: number | undefined
    const turn = async () => {
      if (!document.hidden) {
        try {
          const value = await latest.current(abort.signal)
          if (!abort.signal.aborted) setState({ key, value })
        } catch (error) {
          if (!abort.signal.aborted) setState((old) => ({ ...(old.key === key ? old : { key }), error: error as Error }))
        }
      }
      if (!abort.signal.aborted) timer = window.setTimeout(() => void turn(), everyMs)
    }
    void turn()
    return () => {
      abort.abort()
      window.clearTimeout(timer)
    }
  }, [key, everyMs, again])
  const refresh = useCallback(() => setAgain((n) => n + 1), [])
  // What was learnt about another object must not be shown for this one.
  return state.key === key ? { value: state.value, error: state.error, refresh } : { refresh }
}
