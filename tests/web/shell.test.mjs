// SPDX-License-Identifier: Apache-2.0
// The shell round the pages: job bar, tree, search, language, theme.
import { assert, eventually, open } from './lib.mjs'

export const tests = {
  async 'the job bar moves by itself, an abort rolls back before one\'s eyes'(world) {
    const page = await open(world, '/vms')
    const bar = page.getByRole('region', { name: 'Jobs' })
    await bar.getByRole('button', { name: 'Show jobs' }).click()
    // The agent is held, so that the job stays under way.
    await world.call('pause_agent', { on: true })
    let job
    try {
      job = (await world.call('api', { method: 'POST', path: '/vms', body: { name: 'to-be-undone', template: 'tiny', display: 'none', start: true } })).body
      await bar.getByRole('link', { name: /to-be-undone/ }).first().waitFor()
      await bar.getByText(/Running: 1/).waitFor()
      await bar.getByRole('button', { name: /Abort.*to-be-undone/ }).first().click()
      await page.locator('#confirm-yes').click()
      await eventually(async () => (await world.call('api', { method: 'GET', path: `/jobs/${job.id}` })).body.abort_requested, 'the abort is taken')
    } finally {
      await world.call('pause_agent', { on: false })
    }
    await eventually(async () => (await world.call('api', { method: 'GET', path: `/jobs/${job.id}` })).body.state === 'aborted', 'the job is rolled back')
    await bar.getByRole('row', { name: /to-be-undone/ }).getByText('Aborted').waitFor()
    await bar.getByRole('button', { name: /Steps of .*to-be-undone/ }).click()
    await bar.getByText('Undone').first().waitFor()
    assert.equal((await world.call('api', { method: 'GET', path: '/vms/to-be-undone' })).status, 404)
  },

  async 'the tree shows what comes and goes, and obeys the keyboard'(world) {
    const page = await open(world, '/vms')
    const tree = page.getByRole('tree')
    await tree.getByRole('treeitem', { name: /server1/ }).waitFor()
    await world.call('vm', { name: 'leaf', start: false })
    const server = tree.getByRole('treeitem', { name: /server1/ })
    await server.focus()
    if ((await server.getAttribute('aria-expanded')) !== 'true') await page.keyboard.press('ArrowRight')
    await tree.getByRole('treeitem', { name: /leaf/ }).waitFor()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/vms\/[0-9a-f-]{36}/)
    await world.call('api', { method: 'PATCH', path: '/vms/leaf', body: { name: 'renamed-leaf' } })
    await tree.getByRole('treeitem', { name: /renamed-leaf/ }).waitFor()
    await world.call('api', { method: 'DELETE', path: '/vms/renamed-leaf' })
    await eventually(async () => (await tree.getByRole('treeitem', { name: /renamed-leaf/ }).count()) === 0, 'the deleted one leaves the tree')
  },

  async 'the search finds what is typed and leads there'(world) {
    const page = await open(world, '/dashboard')
    await page.keyboard.press('/')
    await page.keyboard.type('serv')
    await page.getByRole('option', { name: 'server1 Online' }).waitFor()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'server1' }).waitFor()
    // Enter comes before what is found of the whole text: it is not for what was found of its beginning.
    await page.route('**/api/v1/search?q=serv&*', async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      await route.continue()
    })
    await world.call('vm', { name: 'se', start: false })
    await page.goto(world.url + '/dashboard')
    await page.getByRole('heading', { name: 'Dashboard' }).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('se')
    await page.getByRole('option', { name: /^se\b/ }).first().waitFor()
    await page.keyboard.type('rv')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'server1' }).waitFor()
  },

  async 'language and theme change at once and are remembered'(world) {
    const page = await open(world, '/servers', { language: 'zh', theme: 'dark' })
    await page.getByRole('heading', { name: '\u670d\u52a1\u5668' }).waitFor()
    assert.match(await page.evaluate(() => document.documentElement.className), /dark/)
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN')
  },
}
