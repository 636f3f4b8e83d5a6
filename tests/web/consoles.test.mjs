// SPDX-License-Identifier: Apache-2.0
// Consoles of real guests: what is typed and what comes back, the picture, and what happens when either end goes.
import { accessibility, assert, eventually, open } from './lib.mjs'

const screenText = (page) => page.locator('.xterm-rows').innerText()

async function serial(page, world, path) {
  await page.goto(world.url + path)
  await page.waitForSelector('.xterm-rows')
  await eventually(async () => (await page.locator('.tarn-console__veil').count()) === 0, 'the serial console open')
  // A prompt, of now or from what was kept.
  await eventually(async () => {
    await page.keyboard.press('Enter')
    await page.waitForTimeout(300)
    return /# $/m.test((await screenText(page)).trimEnd() + ' ')
  }, 'a prompt')
}

/** How many different colours a canvas shows. */
const colours = (page) =>
  page.evaluate(() => {
    const canvas = document.querySelector('.tarn-console__display canvas')
    if (!canvas?.width) return 0
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    const seen = new Set()
    for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2])
    return seen.size
  })

export const tests = {
  async 'a command typed into the serial console gives its output, colours and all'(world) {
    await world.call('vm', { name: 'typist' })
    const page = await open(world, '/vms')
    await serial(page, world, '/vms/typist/serial')
    await page.keyboard.type('echo $((6*7))-is-it; printf "\\033[38;2;255;100;0morange\\033[0m\\n"\n')
    await eventually(async () => /^42-is-it/m.test(await screenText(page)), 'the output')
    const orange = page.locator('.xterm-rows span', { hasText: /^orange$/ })
    await eventually(async () => (await orange.count()) && (await orange.first().evaluate((e) => getComputedStyle(e).color)) === 'rgb(255, 100, 0)', 'a colour of its own')
    // Pasted text arrives whole, though it is longer than what a line's buffer takes at once.
    await page.getByRole('button', { name: 'Paste text' }).click()
    const lines = Array.from({ length: 60 }, (_, i) => `x${i}=${'y'.repeat(20)}`)
    await page.fill('#paste-text', `cat >/tmp/pasted <<END\n${lines.join('\n')}\nEND\nwc -l </tmp/pasted; md5sum </tmp/pasted\n`)
    await page.getByRole('button', { name: 'Paste', exact: true }).click()
    await eventually(async () => /^60\s*$/m.test(await screenText(page)), 'all lines pasted')
    assert.deepEqual(await accessibility(page), [])
  },

  async 'the console of a guest that stops says so, starts it, and goes on by itself'(world) {
    await world.call('vm', { name: 'sleeper' })
    const page = await open(world, '/vms')
    await serial(page, world, '/vms/sleeper/serial')
    await world.call('job', { path: '/vms/sleeper/kill' })
    await page.getByText('sleeper is not running').waitFor()
    await page.locator('.tarn-console__veil').getByRole('button', { name: 'Start' }).click()
    await eventually(async () => (await page.locator('.tarn-console__veil').count()) === 0, 'the console back', 60000)
    await eventually(async () => /debian-tiny|BusyBox/.test(await screenText(page)), 'what the new guest says', 60000)
  },

  async 'the connection of a console breaks: it says so, and what was on the screen stays, once'(world) {
    await world.call('vm', { name: 'steady' })
    const page = await open(world, '/vms')
    await serial(page, world, '/vms/steady/serial')
    await page.keyboard.type('echo once-$((40+2))\n')
    await eventually(async () => /^once-42/m.test(await screenText(page)), 'the output')
    await world.call('kill_manager')
    await page.locator('.tarn-console__veil').getByText(/Trying again/).waitFor()
    await world.call('start_manager')
    await eventually(async () => (await page.locator('.tarn-console__veil').count()) === 0, 'the console back', 60000)
    await page.waitForTimeout(1000)
    assert.equal((await screenText(page)).match(/^once-42/gm).length, 1)
    await page.keyboard.type('echo twice-$((40+3))\n')
    await eventually(async () => /^twice-43/m.test(await screenText(page)), 'output after it')
  },

  async 'the display shows a booting guest, takes keys, and has a window of its own'(world) {
    await world.call('vm', { name: 'painter', machine: 'q35', memory: 256 * 2 ** 20, display: 'vnc', cmdline: 'console=tty0 console=ttyS0' })
    const page = await open(world, '/vms')
    await page.goto(world.url + '/vms/painter/console?type=vnc')
    await page.waitForSelector('.tarn-console-window')
    assert.equal(await page.locator('.tarn-shell').count(), 0)
    await eventually(async () => (await colours(page)) > 1, 'a picture', 60000)
    // The guest's shell is on its display as well: what is typed and pasted there, its serial console can read.
    const other = await page.context().newPage()
    world.tabs.push(Object.assign(other, { problems: [] }))
    await serial(other, world, '/vms/painter/serial')
    await page.bringToFront()
    await page.locator('.tarn-console__display canvas').click()
    // No shifted key: the browser's driver would not press Shift for it.
    await page.keyboard.type('touch /tmp/typed\n', { delay: 30 })
    await page.getByRole('button', { name: 'Paste text' }).click()
    await page.fill('#paste-text', 'echo "Pasted: {A_b|C~d} $((6*7))" >/tmp/pasted\n')
    await page.getByRole('button', { name: 'Paste', exact: true }).click()
    await other.bringToFront()
    await other.locator('.xterm-screen').click()
    await eventually(async () => {
      await other.keyboard.type('ls -1 /tmp/typed; cat /tmp/pasted\n')
      await other.waitForTimeout(1000)
      const text = await screenText(other)
      return /^\/tmp\/typed/m.test(text) && text.includes('Pasted: {A_b|C~d} 42')
    }, 'what was typed on the display')
    await page.bringToFront()
    await page.getByRole('button', { name: 'Send keys' }).click()
    await page.getByRole('menuitem', { name: 'Ctrl+Alt+F1', exact: true }).click()
    await page.getByRole('button', { name: 'Original size' }).click()
    await page.getByRole('button', { name: 'Fit to the window' }).waitFor()
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save a picture of the screen' }).click()])
    assert.equal(download.suggestedFilename(), 'painter.png')
    // The keyboard comes back to the page.
    await page.locator('.tarn-console__display canvas').click()
    await page.keyboard.press('Control+Shift+F6')
    assert.equal(await page.evaluate(() => !!document.activeElement?.closest('.tarn-console__bar')), true)
    assert.deepEqual(await accessibility(page), [])
  },
}
