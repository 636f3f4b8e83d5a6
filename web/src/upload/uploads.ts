// SPDX-License-Identifier: Apache-2.0
// Files on their way into repositories. A file is sent in pieces; each answer says how much has arrived for good, so a broken
// connection costs at most one piece, and a file that is chosen again after the page was left goes on where it ended.
import { useSyncExternalStore } from 'react'
import { ApiError, call, pathOf, request } from '@/api/client'
import { listObjects } from '@/api/kinds'
import type { Upload } from '@/api/types'
import { eq, filterText } from '@/live/match'

const PIECE = 8 * 2 ** 20
const TRIES = 8

export interface Sending {
  /** The upload's id once it is announced. */
  id?: string
  name: string
  size: number
  received: number
  state: 'waiting' | 'sending' | 'done' | 'failed' | 'cancelled'
  error?: ApiError
  /** bytes/s of late; 0 while unknown */
  rate: number
  /** It went on with what an earlier visit had sent. */
  resumed: boolean
}

export class FileUpload {
  state: Sending
  finished!: Promise<Upload>
  private listeners = new Set<() => void>()
  private abort = new AbortController()
  private resolve!: (upload: Upload) => void
  private reject!: (error: unknown) => void

  constructor(
    readonly file: File,
    readonly repository: string | undefined,
  ) {
    this.state = { name: file.name, size: file.size, received: 0, state: 'waiting', rate: 0, resumed: false }
    this.promise()
  }

  private promise() {
    this.finished = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    // Whoever shows it sees the state; not everybody waits for the end.
    this.finished.catch(() => {})
  }

  subscribe = (listener: () => void) => {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }
  snapshot = () => this.state

  private set(next: Partial<Sending>) {
    this.state = { ...this.state, ...next }
    this.listeners.forEach((tell) => tell())
  }

  /** Sends it, unless that is under way or done; after a failure it goes on where it ended. */
  start() {
    if (this.state.state === 'sending' || this.state.state === 'done') return this.finished
    if (this.state.state !== 'waiting') this.promise()
    this.set({ state: 'sending', error: undefined })
    running.add(this)
    guardLeaving()
    void this.run().finally(() => {
      running.delete(this)
      guardLeaving()
    })
    return this.finished
  }

  /** Ends it and throws away what has arrived. */
  async cancel() {
    this.abort.abort()
    this.set({ state: 'cancelled' })
    this.reject(new ApiError(0, 'cancelled', 'cancelled'))
    if (this.state.id) await call('upload_delete', { params: { upload: this.state.id } }).catch(() => {})
  }

  private async run() {
    try {
      const upload = await this.announce()
      this.set({ id: upload.id, received: upload.received, resumed: upload.received > 0 })
      const last = await this.send(upload)
      this.set({ state: 'done', received: this.file.size })
      this.resolve(last)
    } catch (error) {
      if (this.abort.signal.aborted) return
      const failure = error instanceof ApiError ? error : new ApiError(0, 'io', String(error))
      this.set({ state: 'failed', error: failure })
      this.reject(failure)
    }
  }

  /** The same file from an earlier visit, or a new upload. */
  private async announce(): Promise<Upload> {
    const terms = [eq('name', this.file.name), eq('state', 'open'), eq('size', String(this.file.size))]
    if (this.repository) terms.push(eq('repository', this.repository))
    const known = await listObjects('upload', { filter: filterText(terms), limit: 10 }, this.abort.signal).catch(() => undefined)
    const mine = known?.items.find((upload) => upload.received > 0 && ![...running].some((other) => other !== this && other.state.id === upload.id))
    if (mine) return mine
    const body = { name: this.file.name, size: this.file.size, ...(this.repository ? { repository: this.repository } : {}) }
    return call('upload_create', { body, signal: this.abort.signal })
  }

  private async send(upload: Upload): Promise<Upload> {
    let at = upload.received
    let answer = upload
    let failures = 0
    let since = { time: performance.now(), bytes: at }
    while (at < this.file.size) {
      try {
        const url = pathOf('upload_data', { upload: upload.id! }, { offset: at })
        const sent = await request('PUT', url, { body: this.file.slice(at, at + PIECE), signal: this.abort.signal })
        answer = (await sent.json()) as Upload
        at = answer.received
        failures = 0
      } catch (error) {
        if (this.abort.signal.aborted || !again(error) || ++failures >= TRIES) throw error
        await new Promise((resolve) => window.setTimeout(resolve, Math.min(1000 * 2 ** failures, 15000)))
        const shown = await call('upload_show', { params: { upload: upload.id! }, signal: this.abort.signal }).catch(() => undefined)
        if (shown) at = shown.received
      }
      const now = performance.now()
      if (now - since.time > 1000) {
        this.set({ rate: ((at - since.bytes) * 1000) / (now - since.time) })
        since = { time: now, bytes: at }
      }
      this.set({ received: at })
    }
    return answer
  }
}

/** Worth another try: the connection, the server or the store, not the request. */
function again(error: unknown) {
  return error instanceof ApiError && (error.status === 0 || error.status >= 500 || error.status === 429 || error.code === 'conflict')
}

const running = new Set<FileUpload>()

function warn(event: BeforeUnloadEvent) {
  event.preventDefault()
}
function guardLeaving() {
  window.removeEventListener('beforeunload', warn)
  if (running.size) window.addEventListener('beforeunload', warn)
}

const NOTHING: Sending | undefined = undefined
export function useSending(upload: FileUpload | undefined) {
  return useSyncExternalStore(upload?.subscribe ?? (() => () => {}), () => upload?.snapshot() ?? NOTHING)
}
