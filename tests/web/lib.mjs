// SPDX-License-Identifier: Apache-2.0
// What the browser's tests share: a world to test in, browsers, and what they look for.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const require = createRequire(join(here, '../../web/package.json'))
const { chromium } = require('playwright-core')
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

export { assert }

/** world.py as an object of functions. */
export async function startWorld() {
  const child = spawn('/usr/bin/python3', [join(here, 'world.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting = new Map()
  let last = 0
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line)
    const { resolve, reject } = waiting.get(id)
    waiting.delete(id)
    error === undefined ? resolve(result) : reject(new Error(error))
  })
  const ended = new Promise((resolve) => child.on('exit', resolve))
  void ended.then(() => waiting.forEach(({ reject }) => reject(new Error('the world has ended'))))
  const call = (name, args = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject })
      child.stdin.write(JSON.stringify({ id: last, do: name, with: args }) + '\n')
    })
  const close = async () => {
    await call('close')
    child.stdin.end()
    await ended
  }
  return { call, close, end: () => child.stdin.end() }
}

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']

export async function startBrowser() {
  const directory = mkdtempSync(join(tmpdir(), 'tarn-browser-'))
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS, env: { ...process.env, HOME: directory } })
  return { browser, close: async () => { await browser.close(); rmSync(directory, { recursive: true, force: true }) } }
}

// What a page may complain of: a refused sign-in and a manager that is gone are what some tests are about.
const EXPECTED = /Failed to load resource|WebSocket connection to .* failed|ERR_CONNECTION_REFUSED/

/** A tab of its own with its own cookies. What goes wrong in it is in `page.problems`. */
export async function tab(world, { language = 'en', theme = 'light', width = 1280, height = 800 } = {}) {
  const context = await world.browser.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, permissions: ['clipboard-read', 'clipboard-write'] })
  await context.addInitScript(([l, t]) => {
    localStorage.setItem('tarn.language', l)
    localStorage.setItem('tarn.theme', t)
  }, [language, theme])
  const page = await context.newPage()
  page.setDefaultTimeout(30000)
  page.problems = []
  page.on('console', (message) => {
    if (message.type() === 'error' && !EXPECTED.test(message.text())) page.problems.push(message.text())
  })
  page.on('pageerror', (error) => page.problems.push(error.stack ?? error.message))
  world.tabs.push(page)
  return page
}

export async function signIn(world, page, user = 'admin', password = world.password, path = '/') {
  await page.goto(world.url + path)
  await page.fill('#sign-in-name', user)
  await page.fill('#sign-in-password', password)
  await page.keyboard.press('Enter')
  await page.waitForSelector('.tarn-shell .tarn-page')
  return page
}

/** A signed-in tab. */
export async function open(world, path = '/', options = {}) {
  const page = await tab(world, options)
  await signIn(world, page, options.user, options.password, path)
  return page
}

/** Asks until the answer is true. */
export async function eventually(question, what, ms = 30000) {
  const end = Date.now() + ms
  for (;;) {
    const answer = await question()
    if (answer) return answer
    if (Date.now() > end) throw new Error(`${what}: not within ${ms / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Faults that axe calls serious or critical. Its script is put in past the content security policy, which forbids it. */
export async function accessibility(page) {
  // What is fading in or out, such as a tooltip, has no colours of its own yet: looked at when it has.
  await page.evaluate(async () => {
    const fading = () => document.getAnimations().filter((one) => one.playState === 'running' && one.effect?.getComputedTiming().iterations !== Infinity)
    for (let i = 0; i < 50 && fading().length; i++) await Promise.race([Promise.allSettled(fading().map((one) => one.finished)), new Promise((resolve) => setTimeout(resolve, 200))])
  })
  const session = await page.context().newCDPSession(page)
  await session.send('Runtime.evaluate', { expression: axe })
  const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
    expression: "axe.run(document, { resultTypes: ['violations'] }).then((r) => JSON.stringify(r.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join(' | '))))",
    awaitPromise: true,
    returnByValue: true,
  })
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
  return JSON.parse(result.value)
}
