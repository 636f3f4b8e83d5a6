// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { reasonsOf } from './reasons'

test('why none of several servers will do, server by server', () => {
  expect(reasonsOf('no server can take virtual machine "big; server": server "s1" has 23.5 GiB of memory, it needs 64 GiB; server "s2" cannot use the storage repository "x" now: gone; really; and more')).toEqual({
    head: 'no server can take virtual machine "big; server"',
    servers: [
      { name: 's1', why: 'has 23.5 GiB of memory, it needs 64 GiB' },
      { name: 's2', why: 'cannot use the storage repository "x" now: gone; really' },
    ],
    more: true,
  })
  expect(reasonsOf('server "s1" is not connected: check that tarn-agent runs there')).toBeUndefined()
  expect(reasonsOf('virtual machine "v" is running; stop it first')).toBeUndefined()
})
