// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { apiCall, commandLine, quoted, sizeText } from './command'

test('words for a shell', () => {
  expect(quoted('web-1')).toBe('web-1')
  expect(quoted('my vm')).toBe("'my vm'")
  expect(quoted("it's $HOME")).toBe("'it'\\''s $HOME'")
  expect(quoted('')).toBe("''")
  expect(quoted("x'; rm -rf ~ #")).toBe("'x'\\''; rm -rf ~ #'")
  expect(quoted('=ls')).toBe("'=ls'")
  expect(quoted('a=b')).toBe('a=b')
})
test('what a terminal would act on is written out', () => {
  expect(quoted('two\nlines')).toBe("$'two\\nlines'")
  expect(quoted("it's\t\\n\x1b[201~id\r")).toBe("$'it\\'s\\t\\\\n\\U0000001b[201~id\\U0000000d'")
  expect(quoted('a\u202eb\u{e0041}')).toBe("$'a\\U0000202eb\\U000e0041'")
  const text = apiCall('vm_change', { vm: 'v' }, { description: "a\u202e\x9b\n'" })
  expect(text).toContain(`-d '{"description":"a\\u202e\\u009b\\n'\\''"}'`)
})
test('a shell gives back each word as it was', () => {
  const words = ["x'; rm -rf ~ #", '$(id)`id`', '!!', 'two\nlines', "\\'\n", '\x1b]0;x\x07', '中文 \u202e', '*', '~', '=ls', '-n', '\\', "$'\n'"]
  const script = `printf '%s\\0' ${words.map(quoted).join(' ')}`
  expect(execFileSync('bash', ['--norc', '--noprofile', '-c', script], { encoding: 'utf8', env: { LC_ALL: 'C.UTF-8' } }).split('\0')).toEqual([...words, ''])
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
  // The command line divides lists at commas.
  expect(commandLine('server_change', { server: 's' }, { fence: { options: ['a=1', 'b=2'] } })).toBe('tarn server set s --fence-option a=1,b=2')
  expect(commandLine('server_change', { server: 's' }, { fence: { options: ['a=1,b=2'] } })).toBeUndefined()
  expect(commandLine('server_change', { server: 's' }, { description: 'one, two' })).toBe("tarn server set s --description 'one, two'")
})
test('requests', () => {
  const text = apiCall('vm_change', { vm: 'a b' }, { name: 'it\'s' }, 'https://h')
  expect(text).toContain('curl -X PATCH https://h/api/v1/vms/a%20b')
  expect(text).toContain('Bearer $TARN_TOKEN')
  expect(apiCall('user_change', { user: 'u' }, { password: 'secret' })).not.toContain('secret')
  expect(apiCall('server_change', { server: 's' }, { fence: { user: 'x', password: 'secret' } })).not.toContain('secret')
  expect(apiCall('vm_show', { vm: "a'(b)!*" }, undefined, 'https://h')).toContain("curl -X GET 'https://h/api/v1/vms/a'\\''(b)!*'")
})
