// SPDX-License-Identifier: Apache-2.0
// The store against a manager of this file's own: pages, single objects, names, lost connections.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

interface Sent { url: string }
const sockets: FakeSocket[] = []
class FakeSocket {
  onmessage: ((event: { data: string }) => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  constructor(readonly url: URL) {
    sockets.push(this)
  }
  close() {}
  say(message: Record<string, unknown>) {
    // As the manager writes it: these keys first, in this order.
    this.onmessage?.({ data: JSON.stringify(message) })
  }
}

let objects: Record<string, unknown>[] = []
let sent: Sent[] = []

function put(object: Record<string, unknown>, type = 'put') {
  const socket = sockets[sockets.length - 1]
  socket.say({ type, revision: object.revision, kind: 'vm', id: object.id, object })
}

beforeEach(() => {
  vi.useFakeTimers()
  sockets.length = 0
  sent = []
  objects = [
    { id: 'a', revision: 1, name: 'a', state: 'stopped' },
    { id: 'c', revision: 2, name: 'c', state: 'running' },
  ]
  vi.stubGlobal('window', { location: { href: 'https://h/' }, setTimeout, clearTimeout })
  vi.stubGlobal('WebSocket', FakeSocket)
  vi.stubGlobal('fetch', async (url: string) => {
    sent.push({ url })
    const path = new URL(url, 'https://h')
    const one = /\/vms\/(\w+)$/.exec(path.pathname)
    const body = path.pathname.endsWith('/sessions/current')
      ? { user: 'u', role: 'administrator', csrf: 'x' }
      : one
        ? objects.find((o) => o.id === one[1])
        : { items: objects.slice(0, Number(path.searchParams.get('limit') ?? 100)), next: objects.length > Number(path.searchParams.get('limit') ?? 100) ? 'more' : undefined, revision: 5 }
    if (!body) return new Response(JSON.stringify({ code: 'not-found', message: 'no' }), { status: 404 })
    return new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json' } })
  })
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.resetModules()
})

async function started() {
  const { LiveStore, LivePage } = await import('./store')
  const { loadSession } = await import('../api/session')
  await loadSession()
  const store = new LiveStore()
  store.start()
  sockets[0].say({ type: 'synced', revision: 5 })
  return { store, LivePage }
}
const settle = (ms = 60) => vi.advanceTimersByTimeAsync(ms)

test('a page follows changes of what it shows', async () => {
  const { store, LivePage } = await started()
  const page = new LivePage('vm', {}, store)
  const stop = page.subscribe(() => {})
  await settle()
  expect(page.state.items.map((o) => o.name)).toEqual(['a', 'c'])
  const asked = sent.length
  put({ id: 'a', revision: 6, name: 'a', state: 'running' })
  put({ id: 'a', revision: 7, name: 'a', state: 'stopping' })
  await settle()
  expect(page.state.items[0].state).toBe('stopping')
  expect(sent.length).toBe(asked)
  put({ id: 'a', revision: 3, name: 'old', state: 'stopped' })
  await settle()
  expect(page.state.items[0].name).toBe('a')
  stop()
})
test('one that belongs into a page makes it ask again, one on another page does not', async () => {
  const { store, LivePage } = await started()
  const page = new LivePage('vm', { limit: 2, sort: 'name' }, store)
  objects.push({ id: 'e', revision: 3, name: 'e', state: 'running' })
  page.subscribe(() => {})
  await settle()
  const asked = sent.length
  put({ id: 'z', revision: 8, name: 'z', state: 'running' })
  await settle(3000)
  expect(sent.length).toBe(asked)
  objects.splice(1, 0, { id: 'b', revision: 9, name: 'b', state: 'running' })
  put({ id: 'b', revision: 9, name: 'b', state: 'running' })
  await settle(3000)
  expect(sent.length).toBe(asked + 1)
  expect(page.state.items.map((o) => o.name)).toEqual(['a', 'b'])
})
test('many changes in a second ask once', async () => {
  const { store, LivePage } = await started()
  const page = new LivePage('vm', {}, store)
  page.subscribe(() => {})
  await settle(2000)
  const asked = sent.length
  for (let i = 0; i < 200; i++) put({ id: `n${i}`, revision: 10 + i, name: `b${i}`, state: 'running' })
  await settle(900)
  expect(sent.length - asked).toBeLessThanOrEqual(2)
})
test('what is deleted leaves the page', async () => {
  const { store, LivePage } = await started()
  const page = new LivePage('vm', {}, store)
  page.subscribe(() => {})
  await settle()
  sockets[0].say({ type: 'delete', revision: 8, kind: 'vm', id: 'a' })
  await settle(40)
  expect(page.state.items.map((o) => o.name)).toEqual(['c'])
})
test('an object is watched while somebody looks, and known to be gone', async () => {
  const { store } = await started()
  const watch = store.object('vm', 'c')
  const stop = watch.subscribe(() => {})
  await settle()
  expect(watch.snapshot().object?.name).toBe('c')
  put({ id: 'c', revision: 9, name: 'd', state: 'running' })
  await settle()
  expect(watch.snapshot().object?.name).toBe('d')
  sockets[0].say({ type: 'delete', revision: 10, kind: 'vm', id: 'c' })
  await settle()
  expect(watch.snapshot().gone).toBe(true)
  stop()
  await settle()
  expect(watch.snapshot().object).toBeUndefined()
})
test('names are asked for once and follow renames', async () => {
  const { store } = await started()
  store.onNames(() => {})
  expect(store.name('vm', 'a')).toBe('')
  expect(store.name('vm', 'gone')).toBe('')
  await settle()
  expect(store.name('vm', 'a')).toBe('a')
  const asked = sent.length
  store.name('vm', 'a')
  store.name('vm', 'gone')
  await settle()
  expect(sent.length).toBe(asked)
  put({ id: 'a', revision: 9, name: 'renamed', state: 'stopped' })
  await settle()
  expect(store.name('vm', 'a')).toBe('renamed')
})
test('a lost connection is made again from the last revision', async () => {
  const { store, LivePage } = await started()
  const page = new LivePage('vm', {}, store)
  page.subscribe(() => {})
  await settle()
  put({ id: 'a', revision: 12, name: 'a', state: 'running' })
  sockets[0].onclose?.({ code: 1006 })
  expect(store.connection).toBe('lost')
  await settle(1000)
  expect(sockets.length).toBe(2)
  expect(sockets[1].url.searchParams.get('since')).toBe('12')
  const asked = sent.length
  sockets[1].say({ type: 'resync', revision: 20 })
  sockets[1].say({ type: 'synced', revision: 20 })
  expect(store.connection).toBe('live')
  await settle(2000)
  expect(sent.length).toBeGreaterThan(asked)
})
