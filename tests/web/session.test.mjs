// SPDX-License-Identifier: Apache-2.0
// Signing in and out, what a role may do, what is shown when the manager is away, and that nothing foreign runs in the page.
import { assert, eventually, open, signIn, tab } from './lib.mjs'

const SCRIPT = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'

export const tests = {
  async 'a wrong password is refused in words, the right one leads in'(world) {
    const page = await tab(world)
    await page.goto(world.url)
    await page.fill('#sign-in-name', 'admin')
    await page.fill('#sign-in-password', 'not this one')
    await page.keyboard.press('Enter')
    await page.getByText('The name or the password is wrong').waitFor()
    await signIn(world, page)
    await page.getByRole('button', { name: /admin/ }).first().waitFor()
  },

  async 'signing out ends the session on the server, and the other tab notices'(world) {
    const page = await open(world, '/vms')
    const other = await page.context().newPage()
    world.tabs.push(Object.assign(other, { problems: [] }))
    await other.goto(world.url + '/vms')
    await other.waitForSelector('.tarn-page')
    const cookies = await page.context().cookies()
    await page.getByRole('button', { name: /admin/ }).first().click()
    await page.getByText('Sign out').click()
    await page.waitForSelector('#sign-in-name')
    const cookie = cookies.map((one) => `${one.name}=${one.value}`).join('; ')
    const answer = await page.context().request.get(world.url + '/api/v1/sessions/current', { headers: { cookie } })
    assert.equal(answer.status(), 401)
    await other.locator('input[type=password]').waitFor()
  },

  async 'cookies are HttpOnly, Secure and SameSite, and the page has a strict policy'(world) {
    const page = await tab(world)
    const answer = await page.goto(world.url)
    const policy = answer.headers()['content-security-policy']
    assert.match(policy, /default-src 'self'|default-src 'none'/)
    assert.doesNotMatch(policy.match(/script-src[^;]*/)?.[0] ?? policy, /unsafe|\*|data:/)
    assert.match(policy, /frame-ancestors 'none'/)
    await signIn(world, page)
    const cookies = await page.context().cookies()
    assert.ok(cookies.length > 0)
    for (const cookie of cookies) {
      assert.equal(cookie.httpOnly, true)
      assert.equal(cookie.secure, true)
      assert.equal(cookie.sameSite, 'Strict')
    }
  },

  async 'a change without the CSRF header is refused'(world) {
    const page = await open(world, '/vms')
    const status = await page.evaluate(async () => (await fetch('/api/v1/pools', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"forged"}' })).status)
    assert.ok(status === 401 || status === 403, `status ${status}`)
  },

  async 'texts with scripts in them are text'(world) {
    const made = await world.call('api', { method: 'POST', path: '/pools', body: { name: 'scripted', description: SCRIPT } })
    assert.equal(made.status, 201)
    const upload = await world.call('api', { method: 'POST', path: '/uploads', body: { name: SCRIPT, size: 512 } })
    const page = await open(world, `/pools/${made.body.id}`)
    await page.getByText('<script>').first().waitFor()
    await page.goto(`${world.url}/repositories/${upload.body.repository}/uploads`)
    await page.getByText('<img src=x').first().waitFor()
    assert.equal(await page.evaluate(() => window.pwned), undefined)
    await world.call('api', { method: 'DELETE', path: `/pools/${made.body.id}` })
    await world.call('api', { method: 'DELETE', path: `/uploads/${upload.body.id}` })
  },

  async 'a viewer sees and changes nothing, in the console and in the API'(world) {
    const password = await world.call('user', { name: 'watcher', role: 'viewer' })
    const page = await open(world, '/repositories', { user: 'watcher', password })
    await page.getByRole('link', { name: 'local' }).first().waitFor()
    assert.equal(await page.getByRole('button', { name: 'Create a repository' }).count(), 0)
    assert.equal(await page.getByRole('button', { name: /^Actions of/ }).count(), 0)
    const status = await page.evaluate(async () => {
      const csrf = (await (await fetch('/api/v1/sessions/current')).json()).csrf
      return (await fetch('/api/v1/pools', { method: 'POST', headers: { 'content-type': 'application/json', 'x-tarn-csrf': csrf }, body: '{"name":"forbidden"}' })).status
    })
    assert.equal(status, 403)
  },

  async 'the manager dies: the console says so, and goes on when it is back'(world) {
    const page = await open(world, '/pools')
    await world.call('kill_manager')
    // In the banner, for whatever is shown; a list that is asked for just then says so as well.
    const banner = page.locator('.tarn-banner', { hasText: 'The manager cannot be reached' })
    await banner.waitFor()
    await world.call('start_manager')
    await banner.waitFor({ state: 'detached', timeout: 60000 })
    await world.call('api', { method: 'POST', path: '/pools', body: { name: 'after-the-crash' } })
    await page.getByRole('link', { name: 'after-the-crash' }).first().waitFor()
    await world.call('api', { method: 'DELETE', path: '/pools/after-the-crash' })
    await page.getByRole('link', { name: 'after-the-crash' }).first().waitFor({ state: 'detached' })
  },

  async 'two browsers see each other\'s changes without reloading'(world) {
    const [a, b] = [await open(world, '/pools'), await open(world, '/pools', { language: 'zh' })]
    await a.getByRole('button', { name: 'Create a pool' }).first().click()
    await a.fill('#field-name', 'seen-by-both')
    await a.getByRole('button', { name: 'Create', exact: true }).click()
    await b.getByRole('link', { name: 'seen-by-both' }).first().waitFor()
    const pool = (await world.call('api', { method: 'GET', path: '/pools/seen-by-both' })).body
    await a.goto(`${world.url}/pools/${pool.id}`)
    await world.call('api', { method: 'PATCH', path: `/pools/${pool.id}`, body: { description: 'changed elsewhere' } })
    await a.getByText('changed elsewhere').waitFor()
    await world.call('api', { method: 'DELETE', path: `/pools/${pool.id}` })
    await eventually(async () => (await b.getByRole('link', { name: 'seen-by-both' }).count()) === 0, 'the deleted pool leaves the list')
  },
}
