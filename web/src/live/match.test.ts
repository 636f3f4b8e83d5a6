// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { compare, contains, eq, filterText, matches, not, valuesAt } from './match'

const vm = { name: 'Web 1', state: 'running', cpus: 2, pool: '', tags: ['a', 'b'], disks: [{ size: 10 }, { size: 20 }], ha: { enabled: false } }

test('paths lead through objects and lists', () => {
  expect(valuesAt(vm, 'cpus')).toEqual([2])
  expect(valuesAt(vm, 'tags')).toEqual(['a', 'b'])
  expect(valuesAt(vm, 'disks.size')).toEqual([10, 20])
  expect(valuesAt(vm, 'disks.1.size')).toEqual([20])
  expect(valuesAt(vm, 'ha.enabled')).toEqual([false])
  expect(valuesAt(vm, 'no.such')).toEqual([])
})
test('terms as the manager has them', () => {
  expect(matches(vm, [])).toBe(true)
  expect(matches(vm, [eq('state', 'running'), contains('name', 'WEB')])).toBe(true)
  expect(matches(vm, [eq('state', 'running'), contains('name', 'db')])).toBe(false)
  expect(matches(vm, [not('state', 'running')])).toBe(false)
  expect(matches(vm, [not('state', 'stopped')])).toBe(true)
  expect(matches(vm, [eq('pool', '')])).toBe(true)
  expect(matches(vm, [eq('tags', 'b')])).toBe(true)
  expect(matches(vm, [eq('disks.size', '20')])).toBe(true)
})
test('filters in an address', () => {
  expect(filterText([eq('server', 'x'), not('state', 'done'), contains('name', 'a,b')])).toBe('server=x,state!=done,name~a b')
})
test('orders', () => {
  expect(compare({ name: 'a' }, { name: 'b' }, 'name')).toBeLessThan(0)
  expect(compare({ name: 'a' }, { name: 'b' }, '-name')).toBeGreaterThan(0)
  expect(compare({ n: 10 }, { n: 9 }, 'n')).toBeGreaterThan(0)
  expect(compare({ n: 1 }, { n: 1 }, 'n')).toBe(0)
})
