// SPDX-License-Identifier: Apache-2.0
// A picture of each page in both languages, one of them dark, to be looked at: TARN_TEST_LOGS/pictures. What the test itself sees to is
// that each page draws itself without a complaint and holds no text that lacks its words.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { assert, open } from './lib.mjs'

const folder = join(process.env.TARN_TEST_LOGS ?? 'build-test/logs', 'pictures')

async function pagesOf(world) {
  const first = async (plural) => (await world.call('api', { method: 'GET', path: `/${plural}?limit=1` })).body.items[0]?.id
  const vm = (await world.call('api', { method: 'GET', path: '/vms/pictured' })).body.id
  const server = await first('servers')
  const repository = await first('repositories')
  const job = await first('jobs')
  return {
    dashboard: '/dashboard', vms: '/vms', vm: `/vms/${vm}`, console: `/vms/${vm}/serial`, display: `/vms/${vm}/display`, settings: `/vms/${vm}/settings`, disks: `/vms/${vm}/disks`,
    wizard: '/vms/create', servers: '/servers', server: `/servers/${server}`, hardware: `/servers/${server}/hardware`, pools: '/pools',
    repositories: '/repositories', repository: `/repositories/${repository}`, uploads: `/repositories/${repository}/uploads`, templates: '/templates',
    import: '/templates/import', isos: '/isos', disks_all: '/disks', jobs: '/jobs', job: `/jobs/${job}`, events: '/events', users: '/users', roles: '/users/roles',
    tokens: '/users/tokens', audit: '/users/audit',
  }
}

async function pictures(world, language, theme) {
  mkdirSync(folder, { recursive: true })
  if ((await world.call('api', { method: 'GET', path: '/vms/pictured' })).status === 404) await world.call('vm', { name: 'pictured', display: 'vnc', machine: 'q35', memory: 128 << 20 })
  const page = await open(world, '/dashboard', { language, theme })
  const bare = []
  for (const [name, path] of Object.entries(await pagesOf(world))) {
    await page.goto(world.url + path)
    await page.waitForSelector('.tarn-main h1, .tarn-main h2')
    assert.equal(await page.getByText(language === 'en' ? 'There is nothing at this address' : '\u6b64\u5730\u5740\u6ca1\u6709\u5185\u5bb9').count(), 0, path)
    await page.waitForTimeout(name === 'console' || name === 'display' ? 2500 : 500)
    await page.screenshot({ path: join(folder, `${name}-${language}.png`) })
    // A key that is shown as it is has a file's name, a point, and no spaces: servers.none_text.
    const text = await page.locator('.tarn-main').innerText()
    bare.push(...text.split(/\s+/).filter((word) => /^(ui|shell|servers|pools|vms|templates|repositories|disks|isos|images|upload|users|metrics|console|field|enum|kind|action|job|step|event|alarm)\.[a-z_.-]+$/.test(word) && !/\.(read|edit|use|manage|abort|watch|acknowledge|undo|start|create|delete)$/.test(word)).map((word) => `${path}: ${word}`))
  }
  return bare
}

export const tests = {
  async 'each page in English'(world) {
    assert.deepEqual((await pictures(world, 'en', 'light')).filter((one) => !/audit|events/.test(one)), [])
  },
  async 'each page in Chinese, dark'(world) {
    assert.deepEqual((await pictures(world, 'zh', 'dark')).filter((one) => !/audit|events/.test(one)), [])
  },
  async 'the job bar during a roll-back, in both languages'(world) {
    const page = await open(world, '/vms')
    await page.locator('.tarn-jobs__strip button').first().click()
    await world.call('pause_agent', { on: true })
    try {
      const job = (await world.call('api', { method: 'POST', path: '/vms', body: { name: 'rolled-back', template: 'tiny', display: 'none', start: true } })).body
      await world.call('api', { method: 'POST', path: `/jobs/${job.id}/abort` })
      await page.getByRole('link', { name: /rolled-back/ }).first().waitFor()
      await page.screenshot({ path: join(folder, 'rollback-en.png') })
      const chinese = await open(world, '/vms', { language: 'zh' })
      await chinese.locator('.tarn-jobs__strip button').first().click()
      await chinese.getByRole('link', { name: /rolled-back/ }).first().waitFor()
      await chinese.screenshot({ path: join(folder, 'rollback-zh.png') })
    } finally {
      await world.call('pause_agent', { on: false })
    }
  },
}
