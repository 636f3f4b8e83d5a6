// SPDX-License-Identifier: Apache-2.0
// What is on the screen, kept true. One WebSocket brings every change of the inventory; the store holds the objects and the
// pages of lists that somebody shows, and nothing else, so that an inventory of any size costs what is visible. A change of
// anything else is thrown away after a look at its first bytes.
//
//   object(kind, id)   one object while it is watched
//   LivePage           a page of a list: objects in it are replaced as they change; when one appears that belongs into it,
//                      or one leaves, the page is asked for again, at most once in REFRESH_MS
//
// When the connection is lost it is made again with the last revision; the manager sends what was missed, or "resync",
// and then everything that is shown is asked for again.
import { ApiError, base, onFailure, request } from '@/api/client'
import { getObject, listObjects, type AnyObject } from '@/api/kinds'
import { expireSession, session } from '@/api/session'
import type { Kind, Kinds } from '@/api/types'
import { compare, filterText, matches, type Term } from './match'

const REFRESH_MS = 1000
const SLOWEST_MS = 10000
const FLUSH_MS = 30

export interface StreamMessage {
  type: 'put' | 'delete' | 'progress' | 'resync' | 'synced'
  revision: number
  kind?: Kind
  id?: string
  object?: AnyObject
}

const HEAD = /^\{"type":"(\w+)","revision":(\d+)(?:,"kind":"([\w-]+)","id":"([^"]+)")?/

export interface ObjectState<K extends Kind> {
  object?: Kinds[K]
  error?: ApiError
  gone: boolean
}

interface Watched {
  kind: Kind
  id: string
  state: ObjectState<Kind>
  listeners: Set<() => void>
  loading: boolean
}

export interface ListQuery {
  filter?: Term[]
  sort?: string
  limit?: number
  after?: string
  /** Fields to be sent; the stream brings whole objects all the same. */
  fields?: string
}

export interface PageState<K extends Kind> {
  items: Kinds[K][]
  next?: string
  total?: number
  loading: boolean
  error?: ApiError
}

export type Connection = 'off' | 'connecting' | 'live' | 'lost'

const asError = (error: unknown) => (error instanceof ApiError ? error : new ApiError(0, 'internal', String(error)))

export class LivePage<K extends Kind> {
  state: PageState<K> = { items: [], loading: true }
  private listeners = new Set<() => void>()
  private ids = new Set<string>()
  private timer: number | undefined
  private running: AbortController | undefined
  private asked = 0
  private closed = true

  constructor(
    readonly kind: K,
    readonly query: ListQuery,
    private readonly store: LiveStore,
  ) {}

  subscribe = (listener: () => void) => {
    this.listeners.add(listener)
    if (this.closed) {
      this.closed = false
      this.store.addPage(this)
      void this.load()
    }
    return () => {
      this.listeners.delete(listener)
      // React unsubscribes and subscribes again when it likes to; only who stays away has gone.
      queueMicrotask(() => {
        if (this.listeners.size || this.closed) return
        this.closed = true
        this.store.removePage(this)
        this.running?.abort()
        window.clearTimeout(this.timer)
        this.timer = undefined
      })
    }
  }

  snapshot = () => this.state

  private set(next: Partial<PageState<K>>) {
    this.state = { ...this.state, ...next }
    if (next.items) this.ids = new Set(next.items.map((o) => o.id!))
    this.listeners.forEach((tell) => tell())
  }

  async load() {
    this.running?.abort()
    const abort = (this.running = new AbortController())
    this.asked = Date.now()
    const { filter, sort, limit, after, fields } = this.query
    try {
      const page = await listObjects(this.kind, { filter: filter && filterText(filter), sort, limit, after, fields }, abort.signal)
      if (abort.signal.aborted) return
      this.set({ items: page.items.map((o) => this.store.newer(this.kind, o)), next: page.next, total: page.total, loading: false, error: undefined })
    } catch (error) {
      if (!abort.signal.aborted) this.set({ loading: false, error: asError(error) })
    }
  }

  /** Asks again soon, but not more often than the screen needs it. */
  refresh = (soon = false) => {
    if (this.timer !== undefined || this.closed) return
    const wait = soon ? 0 : Math.max(50, this.asked + REFRESH_MS - Date.now())
    this.timer = window.setTimeout(() => {
      this.timer = undefined
      void this.load()
    }, wait)
  }

  get stale() {
    return this.timer !== undefined
  }

  has(id: string) {
    return this.ids.has(id)
  }

  put(object: AnyObject) {
    const terms = this.query.filter ?? []
    const sort = this.query.sort ?? (this.kind === 'job' || this.kind === 'event' ? '' : 'name')
    const items = this.state.items as AnyObject[]
    const belongs = matches(object, terms)
    if (this.ids.has(object.id)) {
      const old = items.find((o) => o.id === object.id)!
      if (old.revision > object.revision) return
      this.set({ items: items.map((o) => (o.id === object.id ? object : o)) as Kinds[K][] })
      if (!belongs || (sort && compare(old, object, sort) !== 0)) this.refresh()
      return
    }
    if (!belongs) return
    // Behind the end of a full page, or before the beginning of a later one: it is on another page.
    const last = items[items.length - 1]
    if (sort && last && this.state.next && compare(last, object, sort) < 0) return
    if (sort && this.query.after && items[0] && compare(object, items[0], sort) < 0) return
    this.refresh()
  }

  remove(id: string) {
    if (!this.ids.has(id)) return
    const total = this.state.total
    this.set({ items: this.state.items.filter((o) => o.id !== id), total: total === undefined ? undefined : Math.max(0, total - 1) })
    this.refresh()
  }
}

export class LiveStore {
  connection: Connection = 'off'
  readOnly = ''
  private socket: WebSocket | undefined
  private revision: number | undefined
  private arrived = new Map<string, string>()
  private flushTimer: number | undefined
  private attempts = 0
  private timer: number | undefined
  private watched = new Map<string, Watched>()
  private pages = new Map<Kind, Set<LivePage<Kind>>>()
  private taps = new Map<Kind, Set<(message: StreamMessage) => void>>()
  private names = new Map<string, string>()
  private nameListeners = new Set<() => void>()
  private statusListeners = new Set<() => void>()
  private resyncListeners = new Set<() => void>()

  // ---- the connection ----

  start() {
    if (this.connection !== 'off') return
    this.setConnection('connecting')
    this.open()
  }

  stop() {
    window.clearTimeout(this.timer)
    this.timer = undefined
    const socket = this.socket
    this.socket = undefined
    socket?.close()
    this.arrived.clear()
    this.revision = undefined
    this.attempts = 0
    this.names.clear()
    this.setConnection('off')
  }

  onStatus = (listener: () => void) => {
    this.statusListeners.add(listener)
    return () => void this.statusListeners.delete(listener)
  }

  private setConnection(next: Connection) {
    if (this.connection === next) return
    this.connection = next
    this.statusListeners.forEach((tell) => tell())
  }

  setReadOnly(reason: string) {
    if (this.readOnly === reason) return
    this.readOnly = reason
    this.statusListeners.forEach((tell) => tell())
  }

  private open() {
    const url = new URL(base + '/stream', window.location.href)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    if (this.revision !== undefined) url.searchParams.set('since', String(this.revision))
    const socket = (this.socket = new WebSocket(url))
    socket.onmessage = (event) => this.receive(String(event.data))
    socket.onclose = (event) => {
      if (this.socket !== socket) return
      this.socket = undefined
      if (event.code === 4401) expireSession()
      this.retry()
    }
  }

  private retry() {
    this.setConnection('lost')
    window.clearTimeout(this.timer)
    const wait = Math.min(SLOWEST_MS, 300 * 2 ** this.attempts) * (0.7 + Math.random() * 0.3)
    this.attempts++
    this.timer = window.setTimeout(() => void this.again(), wait)
  }

  /** A WebSocket does not tell why it was refused; a request does: the session may have ended meanwhile. */
  private async again() {
    if (session().state !== 'in') return
    try {
      await request('GET', base + '/sessions/current')
      this.open()
    } catch {
      if (session().state === 'in') this.retry()
    }
  }

  /** After signing in again, or when somebody asks for it. */
  reconnect() {
    if (this.connection === 'off' || this.socket) return
    window.clearTimeout(this.timer)
    this.attempts = 0
    this.open()
  }

  private receive(text: string) {
    const head = HEAD.exec(text)
    if (!head) return
    const type = head[1] as StreamMessage['type']
    if (type === 'put' || type === 'delete' || type === 'progress') {
      this.revision = Math.max(this.revision ?? 0, Number(head[2]))
      this.collect(head[3] as Kind, head[4], text)
      return
    }
    this.flush()
    if (type === 'resync') this.reload()
    if (type !== 'synced') return
    const first = this.revision === undefined
    this.revision = Number(head[2])
    this.attempts = 0
    const was = this.connection
    this.setConnection('live')
    // Between the first pages and the stream's beginning something may have changed.
    if (first && was !== 'live') this.reload()
  }

  /** Of an object that changes many times within a moment the last state is enough, and all are drawn at once. */
  private collect(kind: Kind, id: string, text: string) {
    const key = `${kind}/${id}`
    const pages = this.pages.get(kind)
    const wanted = this.taps.get(kind)?.size || this.watched.has(key) || this.names.has(key) || (pages && [...pages].some((page) => page.has(id) || !page.stale))
    if (!wanted) return
    this.arrived.delete(key)
    this.arrived.set(key, text)
    this.flushTimer ??= window.setTimeout(() => this.flush(), FLUSH_MS)
  }

  private flush() {
    window.clearTimeout(this.flushTimer)
    this.flushTimer = undefined
    const texts = [...this.arrived.values()]
    this.arrived.clear()
    for (const text of texts) {
      const message = JSON.parse(text) as StreamMessage
      const kind = message.kind!
      this.apply(message, this.watched.get(`${kind}/${message.id}`), this.pages.get(kind))
      this.taps.get(kind)?.forEach((tell) => tell(message))
    }
  }

  private apply(message: StreamMessage, watched: Watched | undefined, pages: Set<LivePage<Kind>> | undefined) {
    const { kind, id, object } = message as Required<StreamMessage>
    if (message.type === 'delete') {
      pages?.forEach((page) => page.remove(id))
      if (watched) this.setWatched(watched, { ...watched.state, gone: true })
      return
    }
    if (!object) return
    if (watched && (watched.state.object?.revision ?? 0) <= object.revision) this.setWatched(watched, { object: object as Kinds[Kind], gone: false })
    pages?.forEach((page) => page.put(object))
    const key = `${kind}/${id}`
    if (object.name && this.names.has(key) && this.names.get(key) !== object.name) {
      this.names.set(key, object.name)
      this.nameListeners.forEach((tell) => tell())
    }
  }

  private reload() {
    for (const watched of this.watched.values()) void this.loadWatched(watched)
    for (const pages of this.pages.values()) pages.forEach((page) => page.refresh())
    for (const [key, name] of this.names) if (!name) this.names.delete(key)
    this.nameListeners.forEach((tell) => tell())
    this.resyncListeners.forEach((tell) => tell())
  }

  /** Told when what was missed is unknown and all must be asked for again. */
  onResync = (listener: () => void) => {
    this.resyncListeners.add(listener)
    return () => void this.resyncListeners.delete(listener)
  }

  /** Each message about a kind, parsed; for what counts changes rather than shows objects. */
  tap = (kind: Kind, listener: (message: StreamMessage) => void) => {
    const taps = this.taps.get(kind) ?? new Set()
    this.taps.set(kind, taps)
    taps.add(listener)
    return () => void taps.delete(listener)
  }

  // ---- pages ----

  addPage(page: LivePage<Kind>) {
    const pages = this.pages.get(page.kind) ?? new Set()
    this.pages.set(page.kind, pages)
    pages.add(page)
  }

  removePage(page: LivePage<Kind>) {
    this.pages.get(page.kind)?.delete(page)
  }

  /** An answer may be older than what the stream has brought meanwhile. */
  newer<K extends Kind>(kind: K, object: Kinds[K]): Kinds[K] {
    const known = this.watched.get(`${kind}/${object.id}`)?.state.object as Kinds[K] | undefined
    return known && (known.revision ?? 0) > (object.revision ?? 0) ? known : object
  }

  // ---- single objects ----

  private setWatched(watched: Watched, state: ObjectState<Kind>) {
    watched.state = state
    watched.listeners.forEach((tell) => tell())
  }

  private async loadWatched(watched: Watched) {
    if (watched.loading) return
    watched.loading = true
    try {
      const object = await getObject(watched.kind, watched.id)
      if ((watched.state.object?.revision ?? 0) <= (object.revision ?? 0)) this.setWatched(watched, { object, gone: false })
    } catch (error) {
      const failure = asError(error)
      if (failure.status === 404) this.setWatched(watched, { ...watched.state, gone: true })
      else this.setWatched(watched, { ...watched.state, error: failure })
    } finally {
      watched.loading = false
    }
  }

  object<K extends Kind>(kind: K, id: string) {
    const key = `${kind}/${id}`
    return {
      subscribe: (listener: () => void) => {
        let watched = this.watched.get(key)
        if (!watched) {
          watched = { kind, id, state: { object: this.onScreen(kind, id), gone: false }, listeners: new Set(), loading: false }
          this.watched.set(key, watched)
          void this.loadWatched(watched)
        }
        watched.listeners.add(listener)
        const mine = watched
        return () => {
          mine.listeners.delete(listener)
          queueMicrotask(() => {
            if (!mine.listeners.size && this.watched.get(key) === mine) this.watched.delete(key)
          })
        }
      },
      snapshot: () => (this.watched.get(key)?.state ?? NOTHING) as ObjectState<K>,
    }
  }

  /** One that a list shows can be shown at once. */
  private onScreen(kind: Kind, id: string) {
    for (const page of this.pages.get(kind) ?? []) {
      if (page.query.fields) continue
      const found = page.state.items.find((o) => o.id === id)
      if (found) return found
    }
    return undefined
  }

  // ---- names of what others refer to ----

  private missing = new Map<Kind, Set<string>>()
  private nameTimer: number | undefined

  onNames = (listener: () => void) => {
    this.nameListeners.add(listener)
    return () => void this.nameListeners.delete(listener)
  }

  /** The name of an object, as soon as it is known; "" while it is not. */
  name(kind: Kind, id: string): string {
    const key = `${kind}/${id}`
    const known = this.names.get(key)
    if (known !== undefined) return known
    const missing = this.missing.get(kind) ?? new Set()
    this.missing.set(kind, missing)
    missing.add(id)
    this.nameTimer ??= window.setTimeout(() => {
      this.nameTimer = undefined
      void this.loadNames()
    }, 5)
    return ''
  }

  private async loadNames() {
    const wanted = [...this.missing]
    this.missing = new Map()
    await Promise.all(wanted.map(([kind, ids]) => this.loadNamesOf(kind, ids)))
    this.nameListeners.forEach((tell) => tell())
  }

  private async loadNamesOf(kind: Kind, ids: Set<string>) {
    const learn = (o: { id?: string; name?: string }) => this.names.set(`${kind}/${o.id}`, o.name ?? '')
    try {
      // Many at once are asked for as a list; what a thousand do not hold, one by one.
      if (ids.size > 3) {
        const page = await listObjects(kind, { fields: 'id,name', limit: 1000 })
        ;(page.items as AnyObject[]).forEach(learn)
      }
      for (const id of ids) {
        if (this.names.has(`${kind}/${id}`)) continue
        learn((await getObject(kind, id, { fields: 'id,name' })) as AnyObject)
      }
    } catch {
      // Gone, or no answer: nameless until everything is asked for again, or this would be asked for ever.
      ids.forEach((id) => this.names.has(`${kind}/${id}`) || this.names.set(`${kind}/${id}`, ''))
    }
  }
}

const NOTHING: ObjectState<Kind> = { gone: false }

export const live = new LiveStore()

onFailure((error) => {
  if (error.code === 'read-only') live.setReadOnly(error.message)
})
