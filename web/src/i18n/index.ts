// SPDX-License-Identifier: Apache-2.0
// The console's languages. A key is FILE.NAME: NAME stands in en/FILE.json and zh/FILE.json. NAME_one and NAME_other are
// the forms of one text that counts ({count}). A test sees to it that both languages have every key, and that each is used.
import { useSyncExternalStore } from 'react'

export type Language = 'en' | 'zh'
export type Texts = Record<string, string>
export const languages: { id: Language; name: string; tag: string }[] = [
  { id: 'en', name: 'English', tag: 'en' },
  { id: 'zh', name: '简体中文', tag: 'zh-CN' },
]

let language: Language = 'en'
let texts: Texts = {}
let plural = new Intl.PluralRules('en')
const asItIs = (text: string) => text
let translated: (text: string) => string = asItIs
const listeners = new Set<() => void>()

export function flatten(files: Record<string, Texts>): Texts {
  const out: Texts = {}
  for (const [path, file] of Object.entries(files)) {
    const area = path.replace(/^.*\//, '').replace(/\.json$/, '')
    for (const [name, text] of Object.entries(file)) out[`${area}.${name}`] = text
  }
  return out
}

export function preferredLanguage(): Language {
  const chosen = localStorage.getItem('tarn.language')
  if (chosen === 'en' || chosen === 'zh') return chosen
  return navigator.languages.some((tag) => tag.toLowerCase().startsWith('zh')) ? 'zh' : 'en'
}

export async function setLanguage(next: Language, remember = true) {
  const pack: { default: Texts; said?: (text: string) => string } = next === 'zh' ? await import('./zh') : await import('./en')
  language = next
  texts = pack.default
  translated = pack.said ?? asItIs
  const tag = languages.find((l) => l.id === next)!.tag
  plural = new Intl.PluralRules(tag)
  document.documentElement.lang = tag
  if (remember) localStorage.setItem('tarn.language', next)
  listeners.forEach((tell) => tell())
}

export function currentLanguage() {
  return language
}
export function languageTag() {
  return language === 'zh' ? 'zh-CN' : 'en'
}
export function useLanguage() {
  return useSyncExternalStore((listener) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }, currentLanguage)
}

export type Values = Record<string, string | number>

export function hasText(key: string) {
  return key in texts
}

/** What the manager or an agent says of an error, a reason or a progress, in the user's language as far as it is known. */
export function said(text: string): string
export function said(text: string | undefined): string | undefined
export function said(text: string | undefined) {
  return text && translated(text)
}

/** The text of a key, with {name} replaced by values.name. */
export function t(key: string, values: Values = {}): string {
  let text = texts[key]
  if (text === undefined && typeof values.count === 'number') {
    text = texts[`${key}_${plural.select(values.count)}`] ?? texts[`${key}_other`]
  }
  if (text === undefined) return key
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name]
    return value === undefined ? whole : typeof value === 'number' ? value.toLocaleString(languageTag()) : value
  })
}

function humanized(name: string) {
  const words = name.replace(/[._-]+/g, ' ').trim()
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** What people call a field: field.SCHEMA.NAME, or field.NAME where it is the same everywhere. */
export function fieldLabel(schema: string, name: string): string {
  const own = `field.${schema}.${name}`
  if (own in texts) return texts[own]
  const shared = `field.${name}`
  return shared in texts ? texts[shared] : humanized(name)
}

/** What people call a value of an enumeration: enum.SCHEMA.VALUE, or enum.VALUE. */
export function enumLabel(schema: string | undefined, value: string): string {
  const own = `enum.${schema}.${value}`
  if (own in texts) return texts[own]
  const shared = `enum.${value}`
  return shared in texts ? texts[shared] : humanized(value)
}

/** "virtual machine", "virtual machines" */
export function kindLabel(kind: string, many = false): string {
  const key = `kind.${kind}${many ? '_many' : ''}`
  return key in texts ? texts[key] : humanized(kind)
}

/** Help below a field, where there is some: help.SCHEMA.NAME. */
export function fieldHelp(schema: string, name: string): string | undefined {
  return texts[`help.${schema}.${name}`]
}
