// SPDX-License-Identifier: Apache-2.0
// A virtual machine on its way from one server to another, asked for and watched in the browser. A world of its own: two servers
// that share a repository.
import { assert, eventually, open } from './lib.mjs'

export const world = (call) => call('start', { agents: 2, template: false })

const api = async (world, path) => (await world.call('api', { method: 'GET', path })).body

export const tests = {
  async 'the dialog shows who can take it and why not; the console follows it to the other server'(world) {
    const images = await world.call('images')
    for (const number of [1, 2]) await world.call('api', { method: 'PATCH', path: `/servers/server${number}`, body: { addresses: [{ address: `127.0.0.${number + 1}`, roles: ['migration'] }] } })
    await world.call('job', { path: '/repositories', body: { name: 'shared', server: 'server1', path: `${world.directory}/shared` } })
    await world.call('job', { path: '/repositories/shared/present', body: { server: 'server2' } })
    await world.call('job', { path: '/templates', body: { name: 'mover', repository: 'shared', kernel_image: { path: `${images}/vmlinuz` }, initrd_image: { path: `${images}/initrd.img` }, machine: 'q35', memory: 128 * 2 ** 20, cmdline: 'console=ttyS0 quiet' } })
    await world.call('vm', { name: 'traveller', template: 'mover', server: 'server1' })
    const page = await open(world, '/vms/traveller/serial')
    await page.waitForSelector('.xterm-rows')
    await eventually(async () => {
      await page.locator('.xterm-screen').click()
      await page.keyboard.press('Enter')
      await page.waitForTimeout(500)
      return /# $/m.test((await page.locator('.xterm-rows').innerText()).trimEnd() + ' ')
    }, 'a prompt', 60000)
    await page.keyboard.type('kept=$((40+2))\n')
    await page.locator('.tarn-page__actions').getByRole('button', { name: 'Actions' }).click()
    await page.getByRole('menuitem', { name: 'Migrate' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('It runs here').waitFor()
    assert.equal(await dialog.getByRole('radio', { name: 'server1' }).isDisabled(), true)
    await dialog.getByRole('radio', { name: 'server2' }).check()
    await dialog.getByRole('button', { name: 'Show as command' }).click()
    assert.equal(await dialog.locator('.tarn-copy input').first().inputValue(), 'tarn vm migrate traveller --to server2')
    await dialog.getByRole('button', { name: 'Migrate', exact: true }).click()
    const second = (await api(world, '/servers/server2')).id
    await eventually(async () => {
      const vm = await api(world, '/vms/traveller')
      return vm.server === second && vm.state === 'running'
    }, 'it on the other server', 90000)
    // The same guest, not one that was started anew; its console came back by itself.
    await eventually(async () => {
      await page.locator('.xterm-screen').click()
      await page.keyboard.type('echo still-$kept\n')
      await page.waitForTimeout(700)
      return /^still-42/m.test(await page.locator('.xterm-rows').innerText())
    }, 'the guest that it was', 60000)
  },
}
