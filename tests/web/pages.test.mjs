// SPDX-License-Identifier: Apache-2.0
// Servers, pools, repositories, templates, users: what each page is for, done in it.
import { accessibility, assert, eventually, open } from './lib.mjs'

export const tests = {
  async 'a token to join with is shown as the command to paste'(world) {
    const page = await open(world, '/servers')
    await page.getByRole('link', { name: 'server1' }).first().waitFor()
    await page.getByRole('button', { name: 'Join a server' }).first().click()
    await page.fill('#field-name', 'fresh-server')
    await page.getByRole('button', { name: 'Make the command' }).click()
    const command = await page.locator('.tarn-copy input, .tarn-copy textarea').first().inputValue()
    assert.match(command, /^TARN_JOIN_TOKEN=\S+\.[0-9a-f]{64} tarn-agent join --manager https:\/\/\S+ --name fresh-server$/)
  },

  async 'a server shows its hardware, and what is wrong is said at its field'(world) {
    const page = await open(world, '/servers')
    await page.getByRole('link', { name: 'server1' }).first().click()
    await page.getByRole('tab', { name: 'Hardware' }).click()
    await page.getByText('Processor and memory').waitFor()
    await page.getByRole('button', { name: 'Actions' }).click()
    await page.getByRole('menuitem', { name: 'Network roles' }).click()
    await page.getByRole('button', { name: 'Add an address' }).click()
    await page.fill('#field-addresses-0-address', '203.0.113.250')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.locator('#field-addresses-0-address-help').getByText(/203\.0\.113\.250|address/).waitFor()
  },

  async 'a server enters maintenance and leaves it'(world) {
    await world.call('kill_guests')
    const page = await open(world, '/servers')
    await page.getByRole('link', { name: 'server1' }).first().click()
    await page.getByRole('button', { name: 'Actions' }).click()
    await page.getByRole('menuitem', { name: 'Enter maintenance' }).click()
    await page.getByRole('button', { name: 'Show as command' }).click()
    await eventually(async () => (await page.locator('.tarn-command input').first().inputValue()) === 'tarn server maintenance on server1', 'the command')
    await page.getByRole('button', { name: 'Enter maintenance', exact: true }).click()
    await page.locator('.tarn-page__head, .tarn-page').getByText('In maintenance').first().waitFor()
    await page.getByRole('button', { name: 'Leave maintenance' }).click()
    await page.locator('#confirm-yes').click()
    await eventually(async () => (await world.call('api', { method: 'GET', path: '/servers/server1' })).body.maintenance === 'off', 'the server takes guests again')
    await page.getByRole('button', { name: 'Leave maintenance' }).waitFor({ state: 'detached' })
  },

  async 'a repository tells which server has it, and cannot be presented to one that is not there'(world) {
    const page = await open(world, '/repositories')
    await page.locator('tbody').getByRole('link', { name: 'server1' }).first().waitFor()
    await page.locator('tbody').getByRole('link').first().click()
    await page.getByRole('heading', { name: 'Presented to' }).waitFor()
    await page.getByRole('button', { name: 'Actions' }).click()
    await page.getByRole('menuitem', { name: 'Present to a server' }).click()
    await page.locator('[role=dialog] button:has-text("Present to a server")').click()
    await page.locator('#field-server-help').getByText('This is needed').waitFor()
  },

  async 'what nothing guards says so, and a list of pools what is in them'(world) {
    await world.call('job', { path: '/vms', body: { name: 'unguarded', template: 'tiny', display: 'none', ha: { enabled: true } } })
    const vm = (await world.call('api', { method: 'GET', path: '/vms/unguarded' })).body
    assert.equal(vm.guarded, false)
    const page = await open(world, `/vms/${vm.id}`)
    await page.getByText('Highly available, but not guarded').waitFor()
    await page.getByText('it is in no server pool').waitFor()
    await page.getByText('Yes, but not guarded').waitFor()
    const chinese = await open(world, `/vms/${vm.id}`, { language: 'zh' })
    await chinese.getByText('它不属于任何服务器池').waitFor()
    const job = (await world.call('api', { method: 'GET', path: `/jobs?filter=object.id=${vm.id}` })).body.items[0]
    await page.goto(`${world.url}/jobs/${job.id}`)
    await page.getByText('it is highly available, but would not start elsewhere').waitFor()
    await world.call('api', { method: 'POST', path: '/pools', body: { name: 'listed', clustered: true } })
    await page.goto(`${world.url}/pools`)
    const row = page.getByRole('row', { name: /listed/ })
    const none = row.locator('td', { hasText: /^0$/ }) // servers, virtual machines
    await none.first().waitFor()
    assert.equal(await none.count(), 2)
    await world.call('api', { method: 'DELETE', path: '/pools/listed' })
    await world.call('api', { method: 'DELETE', path: '/vms/unguarded' })
  },
  async 'a pool is made, gets the server, a rule, and loses them again'(world) {
    await world.call('kill_guests')
    const page = await open(world, '/pools')
    await page.getByRole('button', { name: 'Create a pool' }).first().click()
    await page.fill('#field-name', 'production')
    await page.getByRole('button', { name: 'Show as command' }).click()
    await page.locator('.tarn-command input, .tarn-command textarea').first().waitFor()
    assert.match(await page.locator('.tarn-command input, .tarn-command textarea').first().inputValue(), /^tarn pool create production/)
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await page.getByRole('link', { name: 'production' }).first().click()
    await page.getByRole('button', { name: 'Add a server' }).click()
    await page.locator('#field-server').click()
    await page.getByRole('option', { name: 'server1' }).click()
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByRole('tab', { name: 'Servers' }).click()
    await page.getByRole('link', { name: 'server1' }).last().waitFor()
    await page.getByRole('tab', { name: 'Placement rules' }).click()
    await page.getByRole('button', { name: 'Create a rule' }).first().click()
    await page.fill('#field-name', 'spread-web')
    await page.fill('#field-tag', 'web')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await page.getByText('spread-web').waitFor()
    await page.getByRole('button', { name: 'Actions of spread-web' }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await page.locator('#confirm-yes').click()
    await eventually(async () => (await page.getByText('spread-web').count()) === 0, 'the rule leaves the list')
    await world.call('job', { path: '/pools/production/remove', body: { server: 'server1' } })
    await world.call('api', { method: 'DELETE', path: '/pools/production' })
    await page.getByText('Not found').first().waitFor()
  },

  async 'an image is uploaded and becomes a template, which is deleted by its name'(world) {
    const path = await world.call('file', { name: 'tiny-disk.img', size: 20 << 20 })
    const page = await open(world, '/templates/import')
    await page.locator('input[type=file]').setInputFiles(path)
    assert.equal(await page.inputValue('#field-name'), 'tiny-disk')
    await page.getByRole('button', { name: 'Import', exact: true }).click()
    await page.waitForURL(/templates\/[0-9a-f-]{36}/)
    await page.getByRole('heading', { name: 'tiny-disk' }).waitFor()
    await eventually(async () => (await world.call('api', { method: 'GET', path: '/templates/tiny-disk' })).body?.state === 'ready', 'the template is ready', 60000)
    await page.getByText('Ready').first().waitFor()
    await page.getByRole('button', { name: 'Actions' }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    assert.equal(await page.locator('#confirm-yes').isDisabled(), true)
    await page.fill('#confirm-name', 'tiny-disk')
    await page.locator('#confirm-yes').click()
    await page.waitForURL(/\/templates$/)
  },

  async 'users are made, changed and deleted, and tokens shown once'(world) {
    const page = await open(world, '/users')
    await page.getByRole('button', { name: 'Create a user' }).click()
    await page.fill('#field-name', 'mei')
    await page.fill('#field-full_name', '\u6885')
    await page.fill('#field-password', 'short')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await page.locator('#field-password-help').getByText(/8/).waitFor()
    await page.fill('#field-password', 'long enough now')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await page.getByText('mei', { exact: true }).waitFor()
    await page.getByRole('tab', { name: 'Tokens and sessions' }).click()
    await page.getByRole('button', { name: 'Create an API token' }).first().click()
    await page.fill('#field-name', 'ci')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    const secret = await page.locator('.tarn-copy input, .tarn-copy textarea').first().inputValue()
    const { status } = await world.call('api', { method: 'GET', path: '/vms', token: secret })
    assert.equal(status, 200)
    await world.call('api', { method: 'DELETE', path: '/users/mei' })
  },

  async 'no page has a serious accessibility fault'(world) {
    const page = await open(world, '/servers')
    const first = async (plural) => (await world.call('api', { method: 'GET', path: `/${plural}?limit=1` })).body.items[0].id
    const pages = ['/dashboard', '/servers', `/servers/${await first('servers')}`, `/servers/${await first('servers')}/hardware`, '/pools', '/repositories', `/repositories/${await first('repositories')}`, '/templates', '/templates/import', `/templates/${await first('templates')}`, '/isos', '/disks', '/vms', '/jobs', '/events', '/users', '/users/roles', '/users/tokens', '/users/audit']
    const faults = []
    for (const path of pages) {
      await page.goto(world.url + path)
      await page.waitForSelector('.tarn-main h1, .tarn-main h2')
      await page.waitForTimeout(400)
      faults.push(...(await accessibility(page)).map((fault) => `${path}: ${fault}`))
    }
    assert.deepEqual(faults, [])
  },
}
