// SPDX-License-Identifier: Apache-2.0
// Calls operations of the API. Every call names its operation, so that method, path and types come from the description.
import { operations, type Operations } from './types'

export type OperationId = keyof Operations
export type Params = Record<string, string>
export type Query = Record<string, string | number | undefined>

export interface CallOptions<O extends OperationId> {
  params?: Params
  query?: Query
  body?: Operations[O]['body'] | Record<string, unknown>
  /** The revision that the change is made on: refused when somebody else was faster. */
  ifMatch?: number
  signal?: AbortSignal
}

/** What went wrong, as the API says it; code "unreachable" when there was no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field?: string,
    readonly detail?: string,
  ) {
    super(message)
    this.name = 'ApiError'
  }
}

export const base = '/api/v1'
const AGAIN_MS = 200

let csrf = ''
export function setCsrf(value: string | undefined) {
  csrf = value ?? ''
}
export function csrfToken() {
  return csrf
}

type Listener = (error: ApiError) => void
const failures = new Set<Listener>()
/** Told of each call that found no manager, no session or a read-only store. */
export function onFailure(listener: Listener) {
  failures.add(listener)
  return () => void failures.delete(listener)
}

export function pathOf(operation: OperationId, params: Params = {}, query: Query = {}) {
  const path = operations[operation].path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name]
    if (!value) throw new Error(`${operation} needs ${name}`)
    return encodeURIComponent(value)
  })
  const search = Object.entries(query)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`)
    .join('&')
  return base + path + (search ? '?' + search : '')
}

async function errorOf(answer: Response): Promise<ApiError> {
  let body: { code?: string; message?: string; field?: string; detail?: string } = {}
  try {
    // As in the description: {"error": {code, message, field, detail}}.
    const sent = await answer.json()
    body = sent.error ?? {}
  } catch {
    // A proxy's page, or nothing: the status says enough.
  }
  const gateway = answer.status >= 502 && answer.status <= 504 && !body.code
  const code = body.code ?? (gateway ? 'unreachable' : 'internal')
  return new ApiError(answer.status, code, body.message ?? `HTTP ${answer.status}`, body.field, body.detail)
}

export async function request(method: string, url: string, options: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {}) {
  const headers: Record<string, string> = { accept: 'application/json', ...options.headers }
  if (method !== 'GET' && csrf) headers['x-tarn-csrf'] = csrf
  let body: BodyInit | undefined
  if (options.body instanceof Blob) {
    body = options.body
    headers['content-type'] = 'application/octet-stream'
  } else if (options.body !== undefined) {
    body = JSON.stringify(options.body)
    headers['content-type'] = 'application/json'
  }
  const send = () => fetch(url, { method, headers, body, signal: options.signal, credentials: 'same-origin', cache: 'no-store' })
  let answer: Response
  try {
    // A browser drops what is under way when the machine's network changes; what only reads is asked again.
    answer = await send().catch(async (error: unknown) => {
      if (method !== 'GET' || options.signal?.aborted) throw error
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
      return send()
    })
  } catch (error) {
    if (options.signal?.aborted) throw error
    const failure = new ApiError(0, 'unreachable', 'the manager cannot be reached')
    failures.forEach((tell) => tell(failure))
    throw failure
  }
  if (!answer.ok) {
    const failure = await errorOf(answer)
    failures.forEach((tell) => tell(failure))
    throw failure
  }
  return answer
}

export async function call<O extends OperationId>(operation: O, options: CallOptions<O> = {}): Promise<Operations[O]['result']> {
  const headers: Record<string, string> = options.ifMatch ? { 'if-match': `"${options.ifMatch}"` } : {}
  const answer = await request(operations[operation].method, pathOf(operation, options.params, options.query), {
    body: options.body,
    headers,
    signal: options.signal,
  })
  if (answer.status === 204) return undefined as Operations[O]['result']
  const type = answer.headers.get('content-type') ?? ''
  return (type.includes('json') ? await answer.json() : await answer.text()) as Operations[O]['result']
}
