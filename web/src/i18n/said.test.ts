// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { translator } from './said'
import table from './said/zh.json'

function sources(dir: string): string {
  return readdirSync(dir)
    .map((name) => {
      const path = join(dir, name)
      if (statSync(path).isDirectory()) return sources(path)
      return /\.[ch]$/.test(name) && !/_test\.c$/.test(name) ? readFileSync(path, 'utf8') : ''
    })
    .join('\n')
}

test('each template stands in the sources', () => {
  // Literals that follow each other are one.
  const code = sources(join(__dirname, '../../../src')).replace(/"\s*\n\s*"/g, '')
  const gone = Object.keys(table.said).filter((template) => !code.includes(template.replaceAll('"', '\\"')))
  expect(gone, 'the manager says these no more: change src/i18n/said/zh.json').toEqual([])
})

test('each text has the values of its template, and Chinese', () => {
  for (const [template, text] of Object.entries(table.said)) {
    const values = template.replaceAll('%%', '').match(/%(?:\.\*|[-+0-9.*])*(?:ll|l|z|j|h)?[sducxifg]/g)?.length ?? 0
    for (const [, number] of text.matchAll(/\{(\d)\}/g)) expect(Number(number), template).toBeLessThanOrEqual(values)
    expect(text, template).toMatch(/[\u4e00-\u9fff]/)
  }
})

test('what has been put together is translated piece by piece', () => {
  const say = translator(table, (word) => (word === 'running' ? '运行中' : undefined))
  expect(say('no server can take virtual machine "big": server "s1" has 23.5 GiB of memory, it needs 64 GiB; server "s2" is in maintenance; server "s3" cannot run virtual machines: no hypervisor driver')).toBe(
    '没有服务器能运行虚拟机“big”：服务器“s1”共有 23.5 GiB 内存，需要 64 GiB；服务器“s2”处于维护中；服务器“s3”不能运行虚拟机：没有虚拟化驱动',
  )
  expect(say('virtual machine "v2" is on server "server1" already')).toBe('虚拟机“v2”已在服务器“server1”上')
  expect(say('virtual machine "v2" is running; stop it first')).toBe('虚拟机“v2”当前：运行中；请先停止')
  expect(say('99 % of memory, 0 % of CPUs and 100 % of the network free with it; ran there last; breaks rule r1: it is to run on others')).toBe('加上它之后剩余内存 99%、CPU 0%、网络 100%；上次在此运行；违反规则 r1：它应在其他服务器上运行')
  expect(say('moves 2 of 5 guests that are left; cannot move: a: is in maintenance; b: its server does not answer; and 3 more')).toBe('正在迁移剩余 5 台中的 2 台；无法迁移：a：处于维护中；b：其服务器没有响应；另有 3 项')
  expect(say('Server server1 is offline: the manager ended the connection')).toBe('服务器 server1 离线：管理器结束了连接')
  expect(say('the repository is not empty: virtual disk "d" is in it')).toBe('存储库不为空：其中有虚拟磁盘“d”')
  expect(say('cannot use the storage repository "s" now: opening the directory /srv failed: No such file or directory')).toBe('目前无法使用存储库“s”：无法打开目录 /srv：没有该文件或目录')
  expect(say('it is highly available, but would not start elsewhere when its server is lost: no other server of its pool has the storage repository "own"')).toBe(
    '它已设为高可用，但其服务器丢失时不会在其他服务器上启动：池中没有其他服务器能访问存储库“own”',
  )
  expect(say('virtual machine "a" would have no server left: with the rules "x", "y"')).toBe('虚拟机“a”将没有可用的服务器：与以下规则冲突 "x", "y"')
  // What nobody knows stays.
  expect(say('something: quite; else')).toBe('something: quite; else')
  expect(say('')).toBe('')
})

test('long nonsense is left alone, soon', () => {
  const say = translator(table)
  const began = performance.now()
  for (const part of ['server "a" has ', 'a: ', '; ', 'a: b left, c/s', ' is not the storage that server ', 'has ', 'x', 'the upload "'])
    for (const length of [300, 1990]) expect(say(part.repeat(length / part.length)).length).toBeGreaterThan(0)
  expect(performance.now() - began).toBeLessThan(5000)
})
