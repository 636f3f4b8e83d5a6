// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import type { Terminal } from '@xterm/xterm'
import { isTooOften, limitRepeats } from './limits'

test('a sequence that would be done for ever is left out, others are not', () => {
  const handlers = new Map<string, (params: (number | number[])[]) => boolean | Promise<boolean>>()
  const parser = { registerCsiHandler: ({ final }: { final: string }, handler: (params: (number | number[])[]) => boolean | Promise<boolean>) => void handlers.set(final, handler) }
  limitRepeats({ parser } as unknown as Terminal)
  for (const final of 'LMSTIZb') {
    expect(handlers.get(final)!([2147483647])).toBe(true)
    expect(handlers.get(final)!([3])).toBe(false)
    expect(handlers.get(final)!([0])).toBe(false)
  }
  expect(isTooOften([[5000]])).toBe(false)
  expect(isTooOften([])).toBe(false)
})
