// SPDX-License-Identifier: Apache-2.0
// What highly available virtual machines lose with their pool's cluster, or with a server of it, and how the console says so. A world
// of its own: a pool of three servers that share a repository.
import { accessibility, assert, eventually, open } from './lib.mjs'

export const world = (call) => call('simulated', { servers: 3 })

const api = async (world, method, path, body) => (await world.call('api', { method, path, body })).body
const pool = (world) => api(world, 'GET', '/pools/pool')

/** A highly available virtual machine of the first server, with its disk where all reach it. */
async function guarded(world) {
  if ((await world.call('api', { method: 'GET', path: '/vms/guarded' })).status === 200) return
  await world.call('job', { path: '/vms', body: { name: 'guarded', server: world.servers[0], repository: 'shared', disks: [{ size: 2 ** 30 }], start: true, display: 'none', ha: { enabled: true } } })
}

export const tests = {
  async 'a pool that guards virtual machines is made unclustered only by force, and clustered again'(world) {
    await guarded(world)
    await api(world, 'PATCH', '/pools/pool', { clustered: true })
    const { id } = await pool(world)
    const page = await open(world, `/pools/${id}`)
    const edit = async () => {
      await page.locator('.tarn-page__actions').getByRole('button', { name: 'Actions' }).click()
      await page.getByRole('menuitem', { name: 'Edit' }).click()
    }
    const dialog = page.getByRole('dialog')
    const save = dialog.getByRole('button', { name: 'Save' })
    const force = dialog.locator('#field-force')
    await page.getByRole('heading', { name: 'Cluster', exact: true }).waitFor()
    await edit()
    assert.equal(await force.count(), 0, 'force is not offered before somebody needs it')
    await dialog.locator('#field-clustered').uncheck({ force: true })
    await save.click()
    await dialog.locator('#field-force-help').getByText('"guarded"; with force it is done all the same').waitFor()
    assert.equal(await force.isChecked(), false)
    assert.equal((await pool(world)).clustered, true)
    // Without a choice it is refused again; whoever thinks better of it has changed nothing.
    await save.click()
    await dialog.locator('#field-force-help').waitFor()
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    assert.equal((await pool(world)).clustered, true)
    await edit()
    await dialog.locator('#field-clustered').uncheck({ force: true })
    await save.click()
    await force.check({ force: true })
    await dialog.getByRole('button', { name: 'Show as command' }).click()
    await eventually(async () => (await dialog.locator('.tarn-command input').first().inputValue()) === 'tarn pool set pool --no-clustered --force', 'the command')
    assert.deepEqual(await accessibility(page), [])
    await save.click()
    await dialog.waitFor({ state: 'detached' })
    assert.equal((await pool(world)).clustered, false)
    await page.getByRole('heading', { name: 'Cluster', exact: true }).waitFor({ state: 'detached' })
    // What it has cost is said where the virtual machine is, and where its setting is.
    const vm = await api(world, 'GET', '/vms/guarded')
    await page.goto(`${world.url}/vms/${vm.id}`)
    await page.getByText('its pool "pool" is not clustered').waitFor()
    await page.getByRole('tab', { name: 'Settings' }).click()
    await page.getByText('its pool "pool" is not clustered').waitFor()
    // The way back asks for nothing.
    await page.goto(`${world.url}/pools/${id}`)
    await edit()
    await dialog.locator('#field-clustered').check({ force: true })
    await save.click()
    await dialog.waitFor({ state: 'detached' })
    assert.equal((await pool(world)).clustered, true)
  },

  async 'what is refused without force is said in Chinese too'(world) {
    await guarded(world)
    await api(world, 'PATCH', '/pools/pool', { clustered: true })
    const page = await open(world, `/pools/${(await pool(world)).id}`, { language: 'zh' })
    await page.locator('.tarn-page__actions').getByRole('button', { name: '操作' }).click()
    await page.getByRole('menuitem', { name: '编辑' }).click()
    await page.locator('#field-clustered').uncheck({ force: true })
    await page.getByRole('dialog').getByRole('button', { name: '保存' }).click()
    await page.locator('#field-force-help').getByText('guarded').waitFor()
    assert.doesNotMatch(await page.locator('#field-force-help').innerText(), /would no longer|with force/)
    assert.equal((await pool(world)).clustered, true)
  },

  async 'the warning of a job stays until it is closed, however short the job was'(world) {
    const page = await open(world, '/vms')
    await world.call('job', { path: '/vms', body: { name: 'alone', server: world.servers[1], repository: 'local2', disks: [{ size: 2 ** 20 }], display: 'none', ha: { enabled: true } } })
    const alert = page.locator('.pf-v6-c-alert-group .pf-v6-c-alert', { hasText: 'alone' })
    await alert.getByText('would not start elsewhere').waitFor()
    await page.waitForTimeout(7000)
    await alert.getByRole('button', { name: /^Close/ }).click()
    await alert.waitFor({ state: 'detached' })
  },

  async 'a server that is gone for good: what was lost, what has crashed, what is not guarded any more'(world) {
    await guarded(world)
    await api(world, 'PATCH', '/pools/pool', { clustered: true })
    await world.call('job', { path: '/disks', body: { name: 'burnt', repository: 'local1', size: 2 ** 20 } })
    await world.call('lose_servers')
    const server = await api(world, 'GET', `/servers/${world.servers[0]}`)
    const page = await open(world, `/servers/${server.id}`)
    await page.locator('.tarn-page__actions').getByRole('button', { name: 'Actions' }).click()
    await page.getByRole('menuitem', { name: 'Remove: gone for good' }).click()
    await page.fill('#confirm-name', server.name)
    await page.locator('#confirm-yes').click()
    const alert = page.locator('.pf-v6-c-alert-group .pf-v6-c-alert', { hasText: `Server ${server.name} is removed` })
    await alert.getByText('1 highly available virtual machine is not restarted elsewhere any more').waitFor()
    await page.waitForURL(/\/servers$/)
    const crashed = alert.getByRole('region', { name: /^Crashed/ })
    await crashed.getByRole('link', { name: 'guarded' }).waitFor()
    const lost = alert.getByRole('region', { name: /^Lost/ })
    for (const name of ['burnt', 'local1']) await lost.getByText(name).waitFor()
    assert.equal(await lost.getByRole('link').count(), 0, 'what is gone leads nowhere')
    // It stays while one goes elsewhere and reads.
    await page.getByRole('link', { name: world.servers[1] }).first().click()
    await page.waitForTimeout(7000)
    assert.deepEqual(await accessibility(page), [])
    await alert.getByRole('button', { name: /^Close/ }).click()
    await alert.waitFor({ state: 'detached' })
  },

  async 'the same in Chinese'(world) {
    if (await api(world, 'GET', `/servers/${world.servers[2]}`).then((one) => one.state === 'online')) await world.call('lose_servers')
    const server = await api(world, 'GET', `/servers/${world.servers[2]}`)
    const page = await open(world, `/servers/${server.id}`, { language: 'zh' })
    await page.locator('.tarn-page__actions').getByRole('button', { name: '操作' }).click()
    await page.getByRole('menuitem', { name: '移除（永久损失）' }).click()
    await page.fill('#confirm-name', server.name)
    await page.locator('#confirm-yes').click()
    const alert = page.locator('.pf-v6-c-alert-group .pf-v6-c-alert', { hasText: `服务器 ${server.name} 已移除` })
    await alert.getByRole('region', { name: /^已丢失/ }).getByText('local3').waitFor()
  },
}
