// SPDX-License-Identifier: Apache-2.0
// Any operation as the command line and as the request that the console would send, from the description alone.
import { pathOf, type OperationId, type Params, type Query } from '@/api/client'
import { description, schemas, type Field } from '@/api/description'

// What a terminal acts on while it is pasted, and what hides or turns the text around it.
const UNSEEN = /[\p{Cc}\p{Cf}\u2028\u2029]/gu

/** By its code, each half of a pair for itself. */
const byCode = (text: string) => [...Array(text.length).keys()].map((at) => '\\u' + text.charCodeAt(at).toString(16).padStart(4, '0')).join('')

/** So that a shell takes it as one word, and one sees all of it: a line feed in $'…', as bash, zsh and ksh have it. */
export function quoted(word: string) {
  if (/^[\w@%+:,./-][\w@%+=:,./-]*$/.test(word)) return word
  if (word.search(UNSEEN) < 0) return `'${word.replaceAll("'", "'\\''")}'`
  const code = (char: string) => '\\U' + char.codePointAt(0)!.toString(16).padStart(8, '0')
  return `$'${word.replace(/[\\']/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t').replace(UNSEEN, code)}'`
}

export function sizeText(bytes: number) {
  for (const [shift, unit] of [[40, 'TiB'], [30, 'GiB'], [20, 'MiB'], [10, 'KiB']] as const) {
    const length = 2 ** shift
    if (bytes && bytes % length === 0) return `${bytes / length}${unit}`
  }
  return String(bytes)
}

function scalar(field: Field, value: unknown): string {
  if (field.unit === 'bytes' && typeof value === 'number') return sizeText(value)
  return String(value)
}

/** KEY=VALUE,… of one object in a list. */
function members(schema: string, object: Record<string, unknown>): string {
  return Object.entries(object)
    .filter(([name, value]) => value !== undefined && value !== null && value !== '' && schemas[schema]?.fields[name])
    .map(([name, value]) => {
      const field = schemas[schema].fields[name]
      return value === true ? field.flag : `${field.flag}=${scalar(field, value)}`
    })
    .join(',')
}

function flags(schema: string, body: Record<string, unknown>, skip: readonly string[]): string[] {
  const out: string[] = []
  for (const [name, value] of Object.entries(body)) {
    const field = schemas[schema]?.fields[name]
    if (!field || value === undefined || skip.includes(name)) continue
    if (field.type === 'object' && !field.array && value && typeof value === 'object') {
      out.push(...flags(field.schema!, value as Record<string, unknown>, []))
      continue
    }
    if (!field.flag) continue
    const flag = `--${field.flag}`
    if (field.type === 'boolean') out.push(value ? flag : `--no-${field.flag}`)
    else if (field.file) out.push(flag, `${field.flag}.txt`)
    else if (Array.isArray(value)) {
      if (!value.length) out.push(`--no-${field.flag}`)
      else if (field.type === 'object') value.forEach((item) => out.push(flag, quoted(members(field.schema!, item as Record<string, unknown>))))
      else out.push(flag, quoted(value.join(',')))
    } else out.push(flag, quoted(scalar(field, value === null ? '' : value)))
  }
  return out
}

/**
 * Whether flags can say all of it; what has no flag (an image to be sent) takes another command before, and what stands
 * in a list, whose parts commas divide, can hold none.
 */
function sayable(schema: string, body: Record<string, unknown>, listed = false): boolean {
  return Object.entries(body).every(([name, value]) => {
    const field = schemas[schema]?.fields[name]
    if (!field || value === undefined || value === null) return true
    const items = (field.array ? value : [value]) as unknown[]
    if (field.type === 'object') return !!field.flag && items.every((item) => sayable(field.schema!, item as Record<string, unknown>, listed || !!field.array))
    return !!field.flag && !((listed || field.array) && items.some((item) => String(item).includes(',')))
  })
}

/** An argument that is a switch is said on and off. */
const word = (value: unknown) => (typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value))

/** The tarn command, if the operation has one and it can say all that the body does. */
export function commandLine(operation: OperationId, params: Params = {}, body: Record<string, unknown> = {}, query: Query = {}): string | undefined {
  const op = description[operation]
  if (!op?.cli || (op.body && !op.cli.special && !sayable(op.body[0], body))) return undefined
  const words = ['tarn', op.cli.object, ...(op.cli.verb ? [op.cli.verb] : [])]
  for (const name of op.cli.args) words.push(quoted(params[name] ?? word(body[name] ?? name.toUpperCase())))
  if (op.body) words.push(...flags(op.body[0], body, op.cli.args.filter((name) => !op.path.includes(`{${name}}`))))
  if (op.query) words.push(...flags(op.query, Object.fromEntries(Object.entries(query).map(([name, value]) => [name, value === 'true' ? true : value])), []))
  return words.join(' ')
}

/** The request, as curl would send it. */
export function apiCall(operation: OperationId, params: Params = {}, body?: Record<string, unknown>, origin = '', query: Query = {}): string {
  const op = description[operation]
  const given = Object.fromEntries(Object.keys(params).map((key) => [key, params[key] || key.toUpperCase()]))
  const lines = [`curl -X ${op.method} ${quoted(origin + pathOf(operation, given, query))}`, '  -H "Authorization: Bearer $TARN_TOKEN"']
  if (body && op.body) {
    const secretless = JSON.stringify(body, (key, value: unknown) => (key === 'password' && value ? '…' : value))
    lines.push("  -H 'Content-Type: application/json'", `  -d ${quoted(secretless.replace(UNSEEN, byCode))}`)
  }
  return lines.join(' \\\n')
}
