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

test('what an agent says of its server can be said of a named one', () => {
  for (const [template, text] of Object.entries(table.said)) if (template.includes('this server')) expect(text, template).toContain('此服务器')
})

test('what a server that is removed costs is said', () => {
  const say = translator(table)
  expect(say('2 highly available virtual machines are not restarted elsewhere any more when a server is lost ("a", "b"): its pool "p" has no other server; it is in no server pool')).toBe(
    '2 台高可用虚拟机在服务器丢失时不再于其他服务器上启动（"a", "b"）：其服务器池“p”没有其他服务器；它不属于任何服务器池',
  )
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
  expect(
    say('Server s1 is given up: its power is off. Its highly available virtual machines are started elsewhere as far as its pool does that; the others are unknown until it is back. Bring it back, or if it is gone for good, switch it off first, then: tarn server delete s1 --force'),
  ).toBe('已放弃服务器 s1：其电源已关闭。其高可用虚拟机将按池的设置在其他服务器上启动；其余虚拟机在它恢复之前状态未知。请恢复该服务器；若已永久损失，请先切断其电源，再强制移除 s1')
  expect(say('server "s1" is not connected: bring it back, or if it is gone for good remove it from everything: tarn server delete s1 --force')).toBe('服务器“s1”未连接：请恢复该服务器；若已永久损失，请强制移除 s1')
  // What agents say of themselves comes with the server's name.
  expect(say('server "north": what nobody knows')).toBe('server "north": what nobody knows')
  expect(say('server "north": making the disk in /srv failed: Input/output error')).toBe('服务器“north”：在 /srv 中执行“创建磁盘”失败：输入/输出错误')
  expect(say('server "north": the repository /srv is full: making the disk needs more space; make room there and try again')).toBe('服务器“north”：存储库 /srv 已满：创建磁盘需要更多空间；请腾出空间后重试')
  expect(say('server "north" has no UEFI firmware; install ovmf')).toBe('服务器“north”没有 UEFI 固件；请安装 ovmf')
  expect(say('the repository "shared" is not open on server "north"')).toBe('存储库 "shared" 未在服务器“north”上打开')
  expect(say('opening /a.iso on server "north" failed: No such file or directory')).toBe('无法在服务器“north”上打开 /a.iso：没有该文件或目录')
  expect(say('server "north": the template on which the disk stands is missing')).toBe('服务器“north”：磁盘所基于的模板缺失')
  expect(say('server "north": QEMU closed its monitor (Broken pipe)')).toBe('服务器“north”：QEMU 关闭了其监视器（管道已断开）')
  expect(say('server "north" has lost its pool since it was told to start the guest')).toBe('服务器“north”在收到启动命令之后失去了与池的联系')
  expect(say('the virtual machine is on server "north" already')).toBe('虚拟机已在服务器“north”上')
  expect(say('server "north": the repository /srv/x cannot be used: Stale file handle')).toBe('服务器“north”：无法使用存储库 /srv/x：文件句柄已失效')
  expect(say('server "north": fence_ipmilan did not end in time: does the management controller answer?')).toBe('服务器“north”：fence_ipmilan 未能按时结束：管理控制器是否有响应？')
  expect(say('fence_ipmilan says that it has switched the power off, but its status is on')).toBe('fence_ipmilan 报告已将电源切换为 关，但其状态为 开')
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
