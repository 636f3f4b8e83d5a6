// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { keysFor, untypable } from './keys'
import { joined, Tail } from './resume'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (b: Uint8Array | undefined) => b && new TextDecoder().decode(b)

describe('a serial console that comes back', () => {
  test('shows of the replay what is new', () => {
    const tail = new Tail()
    tail.add(bytes('login: root\r\n# '))
    expect(text(tail.newIn(bytes('boot\r\nlogin: root\r\n# ls\r\nfile\r\n')))).toBe('ls\r\nfile\r\n')
    expect(text(tail.newIn(bytes('login: root\r\n# ')))).toBe('')
  })
  test('begins anew where the replay does not go on from what was seen', () => {
    const tail = new Tail()
    expect(tail.newIn(bytes('anything'))).toBeUndefined()
    tail.add(bytes('first boot'))
    expect(tail.newIn(bytes('second boot'))).toBeUndefined()
  })
  test('finds its place by the last bytes of much', () => {
    const tail = new Tail()
    const much = bytes(Array.from({ length: 3000 }, (_, i) => `line ${i}\n`).join(''))
    tail.add(much)
    expect(text(tail.newIn(joined([much.slice(-16384 + 10), bytes('more')])))).toBe('more')
  })
})

describe('typing on a US keyboard', () => {
  test('every printable ASCII character', () => {
    for (let code = 32; code < 127; code++) expect(keysFor(String.fromCharCode(code)), String.fromCharCode(code)).toBeDefined()
    expect(keysFor('A')!.map((key) => key.code)).toEqual(['ShiftLeft', 'KeyA'])
    expect(keysFor('#')!.map((key) => key.code)).toEqual(['ShiftLeft', 'Digit3'])
    expect(keysFor('\n')!.map((key) => key.code)).toEqual(['Enter'])
  })
  test('tells what it cannot', () => {
    expect(untypable('grüße, 世界世\r\n')).toEqual(['ü', 'ß', '世', '界'])
  })
})
