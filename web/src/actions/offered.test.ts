// SPDX-License-Identifier: Apache-2.0
// What the API can do, the console offers: an operation that nothing in the console names is one that has been forgotten.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { description } from '../api/description'

function sources(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    if (statSync(path).isDirectory()) return sources(path)
    return /\.tsx?$/.test(name) && !/\.test\.ts$/.test(name) && !/api\/(types|description)\.ts$/.test(path) ? [readFileSync(path, 'utf8')] : []
  })
}

// Lists and objects are asked for by their kind (api/kinds.ts); these besides are not for the console.
const ELSEWHERE: Record<string, string> = {
  server_join: 'what agents ask',
  stream: 'a WebSocket, which live/store.ts opens by its path',
  server_stats: 'server_metrics has the last sample too',
  vm_stats: 'vm_metrics has the last sample too',
}

test('each operation of the API is offered somewhere', () => {
  const code = sources(join(__dirname, '..')).join('\n')
  const forgotten = Object.keys(description).filter((id) => !/_(list|show)$/.test(id) && !(id in ELSEWHERE) && !new RegExp(`['"\`]${id}['"\`]`).test(code))
  expect(forgotten).toEqual([])
})
