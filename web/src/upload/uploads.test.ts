// SPDX-License-Identifier: Apache-2.0
// A file on its way, against a manager of this file's own.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FileUpload } from './uploads'

let asked: string[] = []
let refuse = 0

const upload = (received: number) => ({ id: 'u1', name: 'a.iso', size: 4, received, state: received === 4 ? 'complete' : 'open' })
const answer = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } })

beforeEach(() => {
  asked = []
  refuse = 0
  const listeners = { addEventListener: () => {}, removeEventListener: () => {}, setTimeout: (f: () => void) => setTimeout(f, 0) }
  vi.stubGlobal('window', listeners)
  vi.stubGlobal('fetch', (_url: string, { method }: { method: string }) => {
    asked.push(method)
    if (method === 'PUT' && refuse-- > 0) return Promise.resolve(answer({ error: { code: 'forbidden', message: 'no' } }, 403))
    if (method === 'GET') return Promise.resolve(answer({ items: [] }))
    return Promise.resolve(answer(upload(method === 'PUT' ? 4 : 0)))
  })
})
afterEach(() => vi.unstubAllGlobals())

// Node 18 has no File of its own.
const file = () => new FileUpload(Object.assign(new Blob(['abcd']), { name: 'a.iso', lastModified: 0 }) as File, undefined)

test('what has been sent is not sent again when it is used', async () => {
  const one = file()
  expect((await one.start()).received).toBe(4)
  const before = asked.length
  expect((await one.start()).id).toBe('u1')
  expect(asked.length).toBe(before)
})

test('another try after a failure is waited for by whoever starts it', async () => {
  const one = file()
  refuse = 1
  await expect(one.start()).rejects.toMatchObject({ code: 'forbidden' })
  expect(one.state.state).toBe('failed')
  expect((await one.start()).received).toBe(4)
  expect(one.state.state).toBe('done')
})
