// SPDX-License-Identifier: Apache-2.0
// After vite: precompresses what the manager serves, and refuses a console whose first page needs too much script.
import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const BUDGET = 250 * 1024
const dir = process.env.TARN_CONSOLE_OUT ?? process.argv[2] ?? 'dist'
const TEXT = new Set(['.js', '.css', '.html', '.svg', '.json', '.map'])

const manifest = JSON.parse(readFileSync(join(dir, '.vite/manifest.json'), 'utf8'))
rmSync(join(dir, '.vite'), { recursive: true })

const initial = { js: 0, css: 0 }
const seen = new Set()
function add(file, what) {
  if (seen.has(file)) return
  seen.add(file)
  initial[what] += gzipSync(readFileSync(join(dir, file)), { level: 9 }).length
}
function visit(name) {
  const chunk = manifest[name]
  if (!chunk) return
  add(chunk.file, 'js')
  for (const css of chunk.css ?? []) add(css, 'css')
  for (const next of chunk.imports ?? []) if (!seen.has(manifest[next]?.file)) visit(next)
}
visit('index.html')
// A language is needed before anything can be shown; the bigger one counts.
const languages = Object.entries(manifest).filter(([, c]) => /i18n\/(en|zh)\.ts$/.test(c.src ?? ''))
initial.js += Math.max(0, ...languages.map(([, c]) => gzipSync(readFileSync(join(dir, c.file)), { level: 9 }).length))

function compress(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) {
      compress(path)
      continue
    }
    if (!TEXT.has(extname(name))) continue
    const data = readFileSync(path)
    if (data.length < 512) continue
    const params = { [constants.BROTLI_PARAM_QUALITY]: 10, [constants.BROTLI_PARAM_SIZE_HINT]: data.length }
    writeFileSync(path + '.br', brotliCompressSync(data, { params }))
    writeFileSync(path + '.gz', gzipSync(data, { level: 9 }))
  }
}
compress(dir)

const kib = (n) => `${(n / 1024).toFixed(1)} KiB`
console.log(`first page: script ${kib(initial.js)}, styles ${kib(initial.css)} gzipped (script at most ${kib(BUDGET)})`)
if (initial.js > BUDGET) {
  console.error('the first page needs too much script: load what it does not show later, with import()')
  process.exit(1)
}
