// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { apiCall, commandLine, quoted, sizeText } from './command'

test('words for a shell', () => {
  expect(quoted('web-1')).toBe('web-1')
  expect(quoted('my vm')).toBe("'my vm'")
  expect(quoted("it's $HOME")).toBe("'it'\\''s $HOME'")
  expect(quoted('')).toBe("''")
})
test('sizes', () => {
  expect(sizeText(10 * 2 ** 30)).toBe('10GiB')
  expect(sizeText(1536 * 2 ** 20)).toBe('1536MiB')
  expect(sizeText(1000)).toBe('1000')
})
test('commands', () => {
  expect(commandLine('vm_start', { vm: 'web' })).toBe('tarn vm start web')
  expect(commandLine('vm_stop', { vm: 'web' }, { force: true, timeout: 3 })).toBe('tarn vm stop web --force --timeout 3')
  expect(
    commandLine('vm_create', {}, { name: 'x', cpus: 2, memory: 2 ** 28, start: true, tags: ['a', 'b'], disks: [{ size: 10 * 2 ** 30, bus: 'sata' }, { disk: 'd1', read_only: true }], nics: [] }),
  ).toBe('tarn vm create x --cpus 2 --memory 256MiB --start --tag a,b --disk size=10GiB,bus=sata --disk disk=d1,read-only --no-nic')
  expect(commandLine('vm_change', { vm: 'web' }, { name: 'new name' })).toBe("tarn vm set web --name 'new name'")
  expect(commandLine('vm_create', {}, { name: 'x', cloud_init: { user_data: '#cloud-config' } })).toBe('tarn vm create x --cloud-init-user-data cloud-init-user-data.txt')
  expect(commandLine('stream')).toBeUndefined()
})
test('requests', () => {
  const text = apiCall('vm_change', { vm: 'a b' }, { name: 'it\'s' }, 'https://h')
  expect(text).toContain('curl -X PATCH https://h/api/v1/vms/a%20b')
  expect(text).toContain('Bearer $TARN_TOKEN')
  expect(apiCall('user_change', { user: 'u' }, { password: 'secret' })).not.toContain('secret')
})
