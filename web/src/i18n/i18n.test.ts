// SPDX-License-Identifier: Apache-2.0
// Both languages are complete: the same keys with the same {values}; every key that the code uses exists, none is unused; and
// every value of an enumeration, every kind, and every field that people fill in has its word.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { description, enums, schemas } from '../api/description'
import { plurals } from '../api/types'
import { flatten, type Texts } from './index'

const root = join(__dirname, '..')

function load(language: string): Texts {
  const dir = join(__dirname, language)
  return flatten(Object.fromEntries(readdirSync(dir).map((name) => [name, JSON.parse(readFileSync(join(dir, name), 'utf8')) as Texts])))
}
function sources(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    if (statSync(path).isDirectory()) return sources(path)
    return /\.tsx?$/.test(name) && !/\.test\.ts$/.test(name) && !path.includes('/api/types') && !path.includes('/api/description') ? [readFileSync(path, 'utf8')] : []
  })
}

const en = load('en')
const zh = load('zh')
const code = sources(root).join('\n')
const base = (key: string) => key.replace(/_(one|other)$/, '')
// Used by looking them up with a name from the API; the tests below see to what must be there.
const LOOKED_UP = ['alarm.', 'field.', 'enum.', 'kind.', 'help.', 'job.', 'step.', 'error.', 'event.']
const values = (text: string) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]))].sort()

describe('languages', () => {
  test('have the same keys', () => {
    const a = new Set(Object.keys(en).map(base))
    const b = new Set(Object.keys(zh).map(base))
    expect([...a].filter((key) => !b.has(key)), 'missing in zh').toEqual([])
    expect([...b].filter((key) => !a.has(key)), 'missing in en').toEqual([])
  })
  test('have both forms of what is counted', () => {
    const forms = (texts: Texts, form: string) => Object.keys(texts).filter((key) => key.endsWith(form)).map(base).sort()
    expect(forms(en, '_one')).toEqual(forms(en, '_other'))
    expect(forms(zh, '_other')).toEqual(forms(en, '_other'))
  })
  test('put the same values into a text', () => {
    for (const key of Object.keys(zh)) expect([key, values(zh[key])]).toEqual([key, values(en[key] ?? en[base(key)] ?? '')])
  })
  test('have no empty text, and Chinese where there are words', () => {
    for (const [key, text] of [...Object.entries(en), ...Object.entries(zh)]) expect(text.trim(), key).not.toBe('')
    const latin = Object.entries(zh).filter(([key, text]) => !/[\u4e00-\u9fff]/.test(text) && /[a-z]{4,} [a-z]{3,}/.test(text) && text === en[key])
    expect(latin.map(([key]) => key)).toEqual([])
  })
})

describe('keys', () => {
  // t('a.b'), t("a.b"), label: 'a.b' …: any literal of that form; t(`a.b_${x}`) uses all that begin so.
  const literal = new Set([...code.matchAll(/['"`]([a-z]+\.[\w.-]+)['"`]/g)].map((m) => m[1]))
  const prefixes = [...code.matchAll(/`([a-z]+\.[\w.-]*)\$\{/g)].map((m) => m[1])
  test('used exist', () => {
    const used = [...code.matchAll(/\bt\(\s*['"]([^'"]+)['"]/g)].map((m) => m[1])
    used.push(...[...code.matchAll(/\bt\([^()'"`]*\?\s*['"]([\w.-]+)['"]\s*:\s*['"]([\w.-]+)['"]/g)].flatMap((m) => [m[1], m[2]]))
    expect(used.filter((key) => !(key in en) && !(`${key}_other` in en))).toEqual([])
  })
  test('of actions exist', () => {
    const ids = [...code.matchAll(/\bid: '([a-z]+\.[\w]+)'/g)].map((m) => m[1])
    expect(ids.filter((id) => !(`action.${id}` in en))).toEqual([])
    const actions = Object.keys(en).filter((key) => key.startsWith('action.')).map((key) => key.slice(7).replace(/_(ask|lost)$/, ''))
    expect(actions.filter((id) => !ids.includes(id))).toEqual([])
  })
  test('are used', () => {
    const unused = Object.keys(en).filter((key) => {
      if (LOOKED_UP.some((area) => key.startsWith(area)) || key.startsWith('action.')) return false
      return !literal.has(base(key)) && !literal.has(key) && !prefixes.some((prefix) => key.startsWith(prefix))
    })
    expect(unused).toEqual([])
  })
})

describe('words of the API', () => {
  const hint = 'add it to src/i18n/{en,zh}'
  test('each kind', () => {
    const missing = Object.keys(plurals).flatMap((kind) => [`kind.${kind}`, `kind.${kind}_many`]).filter((key) => !(key in en))
    expect(missing, `${hint}/kind.json`).toEqual([])
  })
  test('each value of an enumeration', () => {
    const missing = Object.entries(enums).flatMap(([name, list]) => list.filter((value) => !(`enum.${value}` in en) && !(`enum.${name}.${value}` in en)).map((value) => `enum.${name}.${value}`))
    expect(missing, `${hint}/enum.json`).toEqual([])
  })
  test('each field that may be filled in, and each column', () => {
    const bodies = new Set(Object.values(description).flatMap((op) => (op.body ? [op.body[0]] : [])))
    // What only agents send, and what has a page of its own.
    bodies.delete('Join')
    bodies.delete('SignIn')
    const missing = [...bodies].flatMap((name) =>
      Object.entries(schemas[name].fields)
        .filter(([field, f]) => (f.create || f.change || schemas[name].columns?.includes(field)) && !(`field.${field}` in en) && !(`field.${name}.${field}` in en))
        .map(([field]) => `field.${name}.${field}`),
    )
    expect(missing, `${hint}/field.json`).toEqual([])
  })
  test('each field that a page shows', () => {
    const shown = [...code.matchAll(/fieldLabel\('(\w+)', '([\w.]+)'\)/g)].map((m) => [m[1], m[2]])
    expect(shown.filter(([schema, name]) => !(`field.${name}` in en) && !(`field.${schema}.${name}` in en)), `${hint}/field.json`).toEqual([])
  })
  test('no word for what the API does not have', () => {
    const fields = new Set(Object.values(schemas).flatMap((s) => Object.keys(s.fields)))
    const stale = Object.keys(en).filter((key) => key.startsWith('field.')).map((key) => key.slice(6)).filter((name) => !fields.has(name.split('.').pop()!))
    expect(stale).toEqual([])
  })
})

test('there is a file for each area in both languages', () => {
  for (const name of readdirSync(join(__dirname, 'en'))) expect(existsSync(join(__dirname, 'zh', name)), name).toBe(true)
})
