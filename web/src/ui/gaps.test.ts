// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { withGaps } from './gaps'

test('no line is drawn over what is not known', () => {
  expect(withGaps([10, 20, 60, 70], [[1, 2, 3, 4], [5, 6, 7, 8]], 10)).toEqual({
    times: [10, 20, 30, 60, 70],
    lists: [[1, 2, null, 3, 4], [5, 6, null, 7, 8]],
  })
  expect(withGaps([], [[]], 10)).toEqual({ times: [], lists: [[]] })
})
