// SPDX-License-Identifier: Apache-2.0
// What a guest and what this browser's own memory may do to the console.
import { assert, eventually, open } from './lib.mjs'

const screenText = (page) => page.locator('.xterm-rows').innerText()

export const tests = {
  async 'a guest cannot stop the browser with its serial console, nor reach out of it'(world) {
    await world.call('vm', { name: 'hostile' })
    const page = await open(world, '/vms/hostile/serial')
    await page.waitForSelector('.xterm-rows')
    await eventually(async () => (await page.locator('.tarn-console__veil').count()) === 0, 'the serial console open')
    await eventually(async () => {
      await page.keyboard.press('Enter')
      await page.waitForTimeout(300)
      return /# $/m.test((await screenText(page)).trimEnd() + ' ')
    }, 'a prompt')
    const title = await page.title()
    await page.evaluate(() => navigator.clipboard.writeText('mine'))
    // Each of these is done as often as it says by a terminal that does what it is told.
    const sequences = [...'bLMSTIZ'].map((final) => `x\\033[2147483647${final}`).join('')
    await page.keyboard.type(`printf '${sequences}\\033[2J\\033[H'; echo alive-$((40+2))\n`)
    await eventually(async () => /^alive-42/m.test(await screenText(page)), 'the terminal going on')
    // A title, the clipboard, a link that is a script.
    await page.keyboard.type("printf '\\033]0;pwned\\007\\033]2;pwned\\007\\033]52;c;cHduZWQ=\\007\\033]8;;javascript:window.pwned=1\\007link\\033]8;;\\007\\n'; echo again-$((40+2))\n")
    await eventually(async () => /^again-42/m.test(await screenText(page)), 'what was said after it')
    await page.locator('.xterm-rows span', { hasText: 'link' }).last().click()
    assert.equal(await page.title(), title)
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'mine')
    assert.equal(await page.evaluate(() => window.pwned), undefined)
  },

  async 'whatever this browser remembers, every page opens'(world) {
    const page = await open(world, '/vms')
    for (const text of ['{', 'null', '[null,{}]', '1e9', '-1', '"x"']) {
      await page.evaluate((value) => {
        const kinds = ['vm', 'server', 'disk', 'iso', 'template', 'repository', 'pool', 'job', 'event', 'user', 'token', 'upload', 'rule']
        for (const key of [...Object.keys(localStorage), ...kinds.map((kind) => `tarn.columns.${kind}`), 'tarn.rows', 'tarn.side', 'tarn.tree'])
          if (key !== 'tarn.language') localStorage.setItem(key, value)
      }, text)
      await page.goto(world.url + '/vms')
      await page.waitForSelector('.tarn-shell .tarn-page table')
      const width = Number(await page.locator('.tarn-edge').getAttribute('aria-valuenow'))
      assert.ok(width >= 180 && width <= 520, `the tree is ${width} wide with ${text}`)
    }
  },
}
