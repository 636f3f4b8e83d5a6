// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, test, vi } from 'vitest'
import { isBetween, isChoices, isStrings, remembered } from './remembered'

const store = (text: string | null) => vi.stubGlobal('localStorage', { getItem: () => text })
afterEach(() => vi.unstubAllGlobals())

test('what is wanted comes back, anything else does not', () => {
  store('["a"]')
  expect(remembered('k', isStrings, ['b'])).toEqual(['a'])
  expect(remembered('k', isChoices, {})).toEqual({})
  for (const text of [null, '', '{', 'null', '7', '"a"', '[1]', '{"a":1}', '[[]]', '{"a":{}}', 'x'.repeat(100)]) {
    store(text)
    expect(remembered('k', isStrings, ['b'])).toEqual(['b'])
    expect(remembered('k', isChoices, { a: true })).toEqual({ a: true })
  }
  store('{"a":false}')
  expect(remembered('k', isChoices, {})).toEqual({ a: false })
})
test('numbers within their limits', () => {
  for (const [text, number] of [['64', 64], ['1e9', 1], ['-5', 1], ['"64"', 1], ['', 1], ['0', 1]] as const) {
    store(text)
    expect(remembered('k', isBetween(10, 100), 1)).toBe(number)
  }
})
