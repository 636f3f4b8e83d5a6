// SPDX-License-Identifier: Apache-2.0
// Runs the console's tests in Debian's Chromium against a real manager, agent and guests:
//
//     node tests/web/run.mjs [PATTERN...]        those whose FILE/NAME contains one of the patterns
//
// tests/web/NAME.test.mjs exports `tests`, {name: async (world) => {}}, and, if it wants a world of its own rather than the one that
// all share, `world`, (call) => what world.py's start or big is to do. A line for each: PASSED or FAILED and its name. A
// picture of each tab of a test that failed is in TARN_TEST_LOGS. A complaint in the browser's console fails the test.
import { mkdirSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startBrowser, startWorld } from './lib.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const logs = process.env.TARN_TEST_LOGS ?? join(here, '../../build-test/logs')
const patterns = process.argv.slice(2)
const LIMIT_MS = 240000

mkdirSync(logs, { recursive: true })
let failed = 0

async function one(name, test, world) {
  const began = Date.now()
  world.tabs = []
  let problem
  try {
    let timer
    const late = new Promise((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`ran out of its ${LIMIT_MS / 1000} s`)), LIMIT_MS)
    })
    await Promise.race([test(world), late]).finally(() => clearTimeout(timer))
    const complaints = world.tabs.flatMap((page) => page.problems)
    if (complaints.length) throw new Error(`the browser complains:\n${complaints.join('\n')}`)
  } catch (error) {
    problem = error
    for (const [index, page] of world.tabs.entries()) {
      await page.screenshot({ path: join(logs, `web-${name.replace(/\W+/g, '-')}-${index}.png`) }).catch(() => {})
    }
  }
  for (const page of world.tabs) await page.context().close().catch(() => {})
  if (problem) {
    failed++
    console.log(problem.stack ?? String(problem))
  }
  console.log(`${problem ? 'FAILED' : 'PASSED'} ${name.replaceAll(' ', '_')} ${((Date.now() - began) / 1000).toFixed(1)} s`)
}

async function inWorld(prepare, run, browser) {
  const child = await startWorld()
  process.once('SIGTERM', child.end)
  try {
    const about = await prepare(child.call)
    await run({ ...about, call: child.call, browser, tabs: [] })
  } finally {
    await child.close()
  }
}

const files = []
for (const file of readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort()) {
  const area = file.replace('.test.mjs', '')
  const { tests, world } = await import(pathToFileURL(join(here, file)))
  const wanted = Object.entries(tests).filter(([name]) => !patterns.length || patterns.some((p) => `${area}/${name}`.includes(p)))
  if (wanted.length) files.push({ area, world, wanted })
}
const { browser, close } = await startBrowser()
const runAll = async (list, world) => {
  for (const { area, wanted } of list) for (const [name, test] of wanted) await one(`${area}/${name}`, test, world)
}
try {
  const shared = files.filter((file) => !file.world)
  if (shared.length) await inWorld((call) => call('start'), (world) => runAll(shared, world), browser)
  for (const file of files.filter((one) => one.world)) await inWorld(file.world, (world) => runAll([file], world), browser)
} catch (error) {
  failed++
  console.log(error.stack ?? String(error))
  console.log('FAILED the_world_of_the_tests')
}
await close()
process.exit(failed ? 1 : 0)
