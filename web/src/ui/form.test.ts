// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { checkAll, fieldAt, getAt, pathParts, setAt } from './form'

test('paths as the API writes them', () => {
  expect(pathParts('disks[0].size')).toEqual(['disks', 0, 'size'])
  expect(getAt({ disks: [{ size: 5 }] }, 'disks[0].size')).toBe(5)
  expect(getAt({}, 'disks[0].size')).toBeUndefined()
  const old = { a: { b: 1, c: 2 }, l: [{ x: 1 }, { x: 2 }] }
  expect(setAt(old, 'a.b', 3)).toEqual({ a: { b: 3, c: 2 }, l: [{ x: 1 }, { x: 2 }] })
  expect(setAt(old, 'l[1].x', 9)).toEqual({ a: { b: 1, c: 2 }, l: [{ x: 1 }, { x: 9 }] })
  expect(old.a.b).toBe(1)
  expect(setAt({}, 'disks[0].size', 1)).toEqual({ disks: [{ size: 1 }] })
})
test('fields below fields', () => {
  expect(fieldAt('Vm', 'disks[0].bus')).toMatchObject({ schema: 'VmDisk', name: 'bus' })
  expect(fieldAt('Vm', 'cloud_init.user_data').field.maxLength).toBe(262144)
  expect(() => fieldAt('Vm', 'nonsense')).toThrow()
})
test('what is wrong is found before the manager says so', () => {
  const wrong = (values: Record<string, unknown>, creating = true) => Object.keys(checkAll('Vm', values, creating))
  expect(wrong({})).toEqual(['name'])
  expect(wrong({}, false)).toEqual([])
  expect(wrong({ name: 'web' })).toEqual([])
  expect(wrong({ name: '数据库 1' })).toEqual([])
  for (const name of ['-web', 'a..b', 'a  b', 'a ', 'a/b', 'x'.repeat(129)]) expect(wrong({ name }), name).toEqual(['name'])
  expect(wrong({ name: 'web', cpus: 0 })).toEqual(['cpus'])
  expect(wrong({ name: 'web', cpus: 1.5 })).toEqual(['cpus'])
  expect(wrong({ name: 'web', memory: 1 })).toEqual(['memory'])
  expect(wrong({ name: 'web', machine: 'vax' })).toEqual(['machine'])
  expect(wrong({ name: 'web', disks: [{ size: 1 }] })).toEqual(['disks[0].size'])
  expect(wrong({ name: 'web', nics: [{ mac: 'zz' }] })).toEqual(['nics[0].mac'])
  expect(wrong({ name: 'web', nics: Array(9).fill({}) })).toEqual(['nics'])
})
