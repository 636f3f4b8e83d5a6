// SPDX-License-Identifier: Apache-2.0
// Virtual machines: the list, the page with all its tabs, what is done to one and to many, the wizard.
import { accessibility, assert, eventually, open } from './lib.mjs'

const show = async (world, name) => (await world.call('api', { method: 'GET', path: `/vms/${name}` })).body
const state = (world, name, wanted) => eventually(async () => (await show(world, name)).state === wanted, `${name} ${wanted}`, 60000)
const row = (page, name) => page.locator('tr', { has: page.getByRole('link', { name, exact: true }) })

export const tests = {
  async 'the wizard with the keyboard alone: from a template to a running guest'(world) {
    const page = await open(world, '/vms/create')
    await page.waitForSelector('#from-template')
    const press = (key) => page.keyboard.press(key)
    // Enter with nothing chosen says what is missing.
    await press('Enter')
    await page.getByText('This is needed').waitFor()
    while (!(await page.evaluate(() => document.activeElement.id === 'from-template'))) await press('Tab')
    await page.keyboard.type('tin')
    await page.getByRole('option', { name: /^tiny/ }).waitFor()
    await press('ArrowDown')
    await press('Enter')
    await eventually(async () => (await page.inputValue('#from-template')) === 'tiny', 'the template chosen')
    await press('Enter')
    await page.waitForSelector('#field-name')
    await eventually(async () => /^tiny-\d+$/.test(await page.inputValue('#field-name')), 'a name suggested')
    await press('Control+a')
    await page.keyboard.type('by-keys')
    await press('Enter')
    await page.waitForSelector('#cloud-none')
    await press('Tab')
    await press('Tab')
    await page.locator('#field-nics-0-mac').focus()
    await press('Enter')
    await page.waitForSelector('#create-now')
    await press('Enter')
    await page.waitForURL(/\/vms\/[0-9a-f]{8}-/)
    await page.getByRole('heading', { name: 'by-keys' }).waitFor()
    await state(world, 'by-keys', 'running')
    await page.locator('.tarn-page__title').getByText('Running').waitFor()
  },

  async 'the wizard refuses what is wrong where it stands, and shows the command'(world) {
    const page = await open(world, '/vms/create')
    await page.locator('#source-empty').click()
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.fill('#field-name', '')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.getByText('This is needed').first().waitFor()
    await page.fill('#field-name', 'wizardry')
    await page.fill('#field-disks-0-size', '0')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.getByText('At least 1 MiB').first().waitFor()
    await page.fill('#field-disks-0-size', '1')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.locator('#cloud-user').click()
    await page.fill('#cloud-keys', 'nonsense')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.getByText('Each line is a public key').waitFor()
    await page.fill('#cloud-keys', '')
    await page.fill('#cloud-password', 'a secret')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.locator('#field-start').uncheck({ force: true })
    await page.getByRole('button', { name: 'Show as command' }).click()
    const shown = page.locator('.tarn-copy input, .tarn-copy textarea, .tarn-copy pre')
    assert.match(await shown.first().inputValue(), /^tarn vm create wizardry .*--disk size=1GiB .*--cloud-init-user-data/)
    assert.doesNotMatch((await page.locator('.tarn-command').textContent()) ?? '', /a secret/)
    assert.deepEqual(await accessibility(page), [])
    await page.locator('#create-now').click()
    await page.waitForURL(/\/vms\/[0-9a-f]{8}-/)
    await state(world, 'wizardry', 'stopped')
    assert.equal((await show(world, 'wizardry')).disks.length, 1)
  },

  async 'what is wrong above or behind what is seen is brought into view, and said once'(world) {
    const page = await open(world, '/vms/create?template=tiny')
    await page.locator('#source-empty').click()
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.getByRole('button', { name: 'More settings' }).click()
    await page.fill('#field-name', 'no!')
    await page.locator('#field-restart_policy').scrollIntoViewIfNeeded()
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await eventually(() => page.evaluate(() => document.activeElement.id === 'field-name'), 'the name has the focus')
    assert.equal(await page.locator('#field-name-help').innerText().then((text) => /Begin with a letter or a digit/.test(text)), true)
    await page.fill('#field-name', 'fine')
    await page.fill('#field-sockets', '0')
    await page.getByRole('button', { name: 'More settings' }).click()
    await page.fill('#field-cpus', '0')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.locator('#field-sockets').waitFor()
    assert.equal(await page.locator('.pf-v6-c-helper-text__item', { hasText: /^At least 1/ }).count(), 2)
    // A microvm has no display to choose.
    await page.locator('#field-machine').selectOption('microvm')
    assert.equal(await page.locator('#field-display').count(), 0)
  },

  async 'why no server can take it is said in the language of the page'(world) {
    for (const [language, next, create, why] of [['en', 'Next', 'Create', /has [\d.]+ GiB of memory, it needs 4 TiB/], ['zh', '下一步', '创建', /共有 [\d.]+ GiB 内存，需要 4 TiB/]]) {
      const page = await open(world, '/vms/create', { language })
      await page.locator('#source-empty').click()
      await page.getByRole('button', { name: next, exact: true }).click()
      await page.locator('.tarn-pair select').selectOption('TiB')
      await page.fill('#field-memory', '4')
      await page.getByRole('button', { name: next, exact: true }).click()
      await page.locator('#cloud-none').waitFor()
      await page.getByRole('button', { name: next, exact: true }).click()
      await page.getByRole('button', { name: create, exact: true }).click()
      await page.locator('.pf-v6-c-alert').getByText(why).first().waitFor()
    }
  },

  async 'a wizard that has been begun is not left by a slip'(world) {
    const page = await open(world, '/vms')
    await page.getByRole('link', { name: 'Create virtual machine', exact: true }).click()
    await page.locator('#source-empty').click()
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.locator('#field-name').waitFor()
    await page.goBack()
    await page.getByText('Leave without creating it?').waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    await page.locator('#field-name').waitFor()
    await page.getByRole('treeitem', { name: 'Repositories' }).click()
    await page.locator('#confirm-yes').click()
    await page.waitForURL(/\/repositories$/)
  },

  async 'on a phone nothing lies outside the page'(world) {
    await world.call('vm', { name: `a-long-name-${'x'.repeat(100)}`, start: false })
    const page = await open(world, '/vms', { width: 390, height: 844 })
    for (const path of ['/vms', '/events', '/dashboard', '/repositories', '/vms/create']) {
      await page.goto(world.url + path)
      await page.locator('.tarn-page__body').waitFor()
      await page.locator('.tarn-table, .tarn-section, .tarn-wizard').first().waitFor()
      const out = await page.evaluate(() => [...document.querySelectorAll('.tarn-masthead > *, .tarn-page button, .tarn-page input')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80)))
      assert.deepEqual(out, [], path)
    }
  },

  async 'an image of this computer becomes a virtual machine, sent inside the wizard'(world) {
    const file = await world.call('file', { name: 'appliance.raw', size: 24 * 2 ** 20 })
    const page = await open(world, '/vms/create')
    await page.locator('#source-image').click()
    await page.locator('input[type=file]').setInputFiles(file)
    await page.getByText('Sent').waitFor()
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await eventually(async () => (await page.inputValue('#field-name')) === 'appliance-1', 'a name suggested')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.locator('#field-start').uncheck({ force: true })
    await page.locator('#create-now').click()
    await page.waitForURL(/\/vms\/[0-9a-f]{8}-/)
    await state(world, 'appliance-1', 'stopped')
    await page.getByRole('tab', { name: 'Disks' }).click()
    await row(page, 'appliance-1-1').getByText('24 MiB').waitFor()
  },

  async 'a CD of this computer is sent, put into a drive, and changed while the guest runs'(world) {
    const file = await world.call('iso', { name: 'installer.iso' })
    const page = await open(world, '/vms/create')
    await page.locator('#source-iso').click()
    await page.locator('#iso-own').click()
    await page.locator('input[type=file]').setInputFiles(file)
    await page.getByText('Sent').waitFor()
    for (let step = 0; step < 3; step++) await page.getByRole('button', { name: 'Next', exact: true }).click()
    await page.locator('#create-now').click()
    await page.waitForURL(/\/vms\/[0-9a-f]{8}-/)
    await state(world, 'installer-1', 'running')
    await page.getByRole('tab', { name: 'Disks' }).click()
    const drive = page.locator('tr', { hasText: 'CD drive' })
    await drive.getByRole('link', { name: 'installer' }).waitFor()
    await drive.getByRole('button').last().click()
    await page.getByRole('menuitem', { name: 'Change the CD' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Clear' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Insert' }).click()
    await drive.getByText('Empty').waitFor()
    await world.call('job', { path: '/vms/installer-1/kill' })
  },

  async 'settings are edited where they stand; what cannot change now says why'(world) {
    await world.call('vm', { name: 'edited' })
    const page = await open(world, '/vms/edited/settings')
    const card = (title) => page.locator('.tarn-section', { has: page.getByRole('heading', { name: title, exact: true }) })
    await card('General').getByRole('button', { name: /Edit/ }).click()
    await page.fill('#field-description', 'of the tests')
    await page.fill('#field-tags', 'blue')
    await page.keyboard.press('Enter')
    await card('General').getByRole('button', { name: 'Save' }).click()
    await card('General').getByText('of the tests').waitFor()
    await card('CPU and memory').getByRole('button', { name: /Edit/ }).hover()
    await page.getByText('Can be changed only while the virtual machine is stopped; it is: Running').waitFor()
    await world.call('job', { path: '/vms/edited/kill' })
    await card('CPU and memory').locator('button:not([aria-disabled=true])').click()
    await page.fill('#field-cpus', '0')
    await card('CPU and memory').getByRole('button', { name: 'Save' }).click()
    await card('CPU and memory').getByText('At least 1').waitFor()
    await page.fill('#field-cpus', '2')
    await card('CPU and memory').getByRole('button', { name: 'Save' }).click()
    await card('CPU and memory').getByRole('button', { name: /Edit/ }).waitFor()
    const vm = await show(world, 'edited')
    assert.deepEqual([vm.cpus, vm.description, vm.tags], [2, 'of the tests', ['blue']])
    assert.deepEqual(await accessibility(page), [])
  },

  async 'a disk of any size is added, detached, attached again; a card comes and goes'(world) {
    await world.call('vm', { name: 'stored', start: false })
    const page = await open(world, '/vms/stored/disks')
    await page.getByRole('button', { name: 'Add a new disk' }).click()
    await eventually(async () => (await page.inputValue('#field-name')) === 'stored-1', 'a name suggested')
    await page.fill('#field-size', '3')
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click()
    await row(page, 'stored-1').getByText('3 GiB').waitFor()
    await row(page, 'stored-1').getByRole('button').last().click()
    await page.getByRole('menuitem', { name: 'Detach' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Detach' }).click()
    await page.getByText('It has no disks').waitFor()
    await page.getByRole('button', { name: 'Attach an existing disk' }).click()
    await page.locator('#attach-disk').click()
    await page.getByRole('option', { name: /stored-1/ }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click()
    await row(page, 'stored-1').getByText('3 GiB').waitFor()
    await page.getByRole('tab', { name: 'Network cards' }).click()
    await page.getByRole('button', { name: 'Add a network card' }).click()
    await page.fill('#field-mac', 'nonsense')
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText('Six pairs of hexadecimal digits').waitFor()
    await page.fill('#field-mac', '52:54:00:aa:bb:cc')
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText('52:54:00:aa:bb:cc').waitFor()
    assert.equal((await show(world, 'stored')).nics.length, 2)
  },

  async 'a disk that was made and not attached is named, and attached at the second try'(world) {
    await world.call('vm', { name: 'half', start: false })
    const page = await open(world, '/vms/half/disks')
    await page.getByRole('button', { name: 'Add a new disk' }).click()
    await eventually(async () => (await page.inputValue('#field-name')) === 'half-1', 'a name suggested')
    await page.route('**/api/v1/vms/*', (route) => (route.request().method() === 'PATCH' ? route.fulfill({ status: 409, json: { error: { code: 'in-use', message: 'not now' } } }) : route.continue()))
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText('The disk half-1 was made, but the virtual machine does not have it').waitFor()
    await page.getByText('not now').first().waitFor()
    await page.unroute('**/api/v1/vms/*')
    await page.getByRole('button', { name: 'Attach again' }).click()
    await page.locator('tbody').getByRole('link', { name: 'half-1' }).waitFor()
    assert.equal((await show(world, 'half')).disks.length, 1)
    assert.equal((await world.call('api', { method: 'GET', path: '/disks?filter=name=half-1' })).body.items.length, 1)
  },

  async 'what is done to a selection shows what becomes of each'(world) {
    for (const name of ['many-1', 'many-2', 'many-3']) await world.call('vm', { name, start: false })
    const page = await open(world, '/vms?q=many-')
    await page.getByRole('link', { name: 'many-3' }).first().waitFor()
    for (const name of ['many-1', 'many-2', 'many-3']) await page.getByRole('checkbox', { name: `Select ${name}` }).check()
    await page.locator('.tarn-table').getByRole('button', { name: 'Actions', exact: true }).click()
    await page.getByRole('menuitem', { name: 'Start', exact: true }).click()
    await page.getByRole('dialog').getByText('3 of 3').waitFor({ timeout: 90000 })
    assert.equal(await page.getByRole('dialog').getByText('Done').count(), 3)
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click()
    for (const name of ['many-1', 'many-2', 'many-3']) await row(page, name).getByText('Running').waitFor()
  },

  async 'a golden image is made, and its virtual machine deleted by its name'(world) {
    await world.call('api', { method: 'POST', path: '/disks', body: { name: 'gold-root', size: 4 * 2 ** 20 } })
    await eventually(async () => (await world.call('api', { method: 'GET', path: '/disks/gold-root' })).body?.state === 'ready', 'the disk')
    await world.call('job', { path: '/vms', body: { name: 'gold', disks: [{ disk: 'gold-root' }, { size: 2 ** 20 }], display: 'none' } })
    const page = await open(world, '/vms/gold')
    const menu = async (item) => {
      await page.locator('.tarn-page__actions').getByRole('button', { name: 'Actions' }).click()
      await page.getByRole('menuitem', { name: item }).click()
    }
    await menu('Make a template')
    assert.equal(await page.inputValue('#field-name'), 'gold-image')
    await page.getByRole('button', { name: 'Make the template' }).click()
    await page.waitForURL(/\/templates\//)
    await eventually(async () => (await world.call('api', { method: 'GET', path: '/templates/gold-image' })).body?.state === 'ready', 'the template')
    await page.goto(world.url + '/vms')
    await page.getByRole('link', { name: 'gold', exact: true }).first().click()
    await page.getByRole('heading', { name: 'gold' }).waitFor()
    await menu('Delete')
    await page.getByText('gold-2 (1 MiB)').waitFor()
    await page.getByText('gold-root (4 MiB)').waitFor()
    const button = page.getByRole('dialog').getByRole('button', { name: 'Delete' })
    assert.equal(await button.isDisabled(), true)
    await page.fill('#confirm-name', 'gold')
    await button.click()
    await page.waitForURL(/\/vms$/)
    await eventually(async () => (await world.call('api', { method: 'GET', path: '/vms/gold' })).status === 404, 'it gone')
  },

  async 'what people write about virtual machines is text'(world) {
    const script = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
    await world.call('vm', { name: 'scripted', start: false, description: script })
    const page = await open(world, '/vms/scripted')
    await page.locator('.tarn-page').getByText(script).first().waitFor()
    for (const tab of ['Settings', 'Disks', 'Jobs', 'Events']) await page.getByRole('tab', { name: tab }).click()
    assert.equal(await page.evaluate(() => window.pwned), undefined)
  },

  async 'a viewer is offered nothing that a viewer may not do'(world) {
    await world.call('vm', { name: 'looked-at', start: false })
    const password = await world.call('user', { name: 'onlooker', role: 'viewer' })
    const page = await open(world, '/vms/looked-at', { user: 'onlooker', password })
    await page.getByRole('heading', { name: 'looked-at' }).waitFor()
    assert.equal(await page.locator('.tarn-page__actions button').count(), 0)
    assert.equal(await page.getByRole('tab', { name: 'Serial console' }).count(), 0)
    await page.getByRole('tab', { name: 'Settings' }).click()
    assert.equal(await page.getByRole('button', { name: /Edit/ }).count(), 0)
    await page.getByRole('tab', { name: 'Disks' }).click()
    assert.equal(await page.getByRole('button', { name: 'Add a new disk' }).count(), 0)
  },

  async 'every tab is accessible, in both themes'(world) {
    await world.call('vm', { name: 'checked' })
    for (const theme of ['light', 'dark']) {
      const page = await open(world, '/vms/checked', { theme })
      for (const tab of ['', 'settings', 'disks', 'network', 'jobs', 'events']) {
        await page.goto(`${world.url}/vms/checked/${tab}`)
        await page.getByRole('heading', { name: 'checked' }).waitFor()
        await page.waitForTimeout(500)
        assert.deepEqual(await accessibility(page), [], `${theme} ${tab}`)
      }
      await page.goto(world.url + '/vms')
      await page.getByRole('link', { name: 'checked', exact: true }).first().waitFor()
      assert.deepEqual(await accessibility(page), [], `${theme} list`)
    }
  },
}
