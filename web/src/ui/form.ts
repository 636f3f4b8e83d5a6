// SPDX-License-Identifier: Apache-2.0
// The state of a form whose fields come from the description: what may be set, what is valid, what has changed, and what the
// API says is wrong with it.
import { useCallback, useMemo, useRef, useState } from 'react'
import { ApiError } from '@/api/client'
import { schemas, type Field } from '@/api/description'
import { said, t } from '@/i18n'
import { size } from '@/i18n/format'

export type Body = Record<string, unknown>

/** disks[0].size → ['disks', 0, 'size'] */
export function pathParts(path: string): (string | number)[] {
  return path.split(/[.[\]]+/).filter((part) => part !== '').map((part) => (/^\d+$/.test(part) ? Number(part) : part))
}

export function getAt(object: unknown, path: string): unknown {
  return pathParts(path).reduce<unknown>((at, part) => (at === null || at === undefined ? undefined : (at as Record<string | number, unknown>)[part]), object)
}

export function setAt(object: Body, path: string, value: unknown): Body {
  const put = (at: unknown, parts: (string | number)[]): unknown => {
    if (!parts.length) return value
    const [first, ...rest] = parts
    if (typeof first === 'number') {
      const copy = Array.isArray(at) ? [...at] : []
      copy[first] = put(copy[first], rest)
      return copy
    }
    const from = (at ?? {}) as Body
    return { ...from, [first]: put(from[first], rest) }
  }
  return put(object, pathParts(path)) as Body
}

/** The description of the field at a path, e.g. Vm, disks[0].bus; and the schema that it is of. */
export function fieldAt(schema: string, path: string): { field: Field; schema: string; name: string } {
  let at = schema
  let found: { field: Field; schema: string; name: string } | undefined
  for (const part of pathParts(path)) {
    if (typeof part === 'number') continue
    const field: Field | undefined = schemas[at]?.fields[part]
    if (!field) throw new Error(`${schema} has no field ${path}`)
    found = { field, schema: at, name: part }
    at = field.schema ?? at
  }
  return found!
}

// As the manager has it (src/base/id.c).
const NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._ -]*$/u

function checkScalar(field: Field, value: unknown): string | undefined {
  if (typeof value === 'number') {
    const show = (n: number) => (field.unit === 'bytes' ? size(n) : String(n))
    if (field.type === 'integer' && !Number.isInteger(value)) return t('form.integer')
    if (field.min !== undefined && value < field.min) return t('form.min', { min: show(field.min) })
    if (field.max !== undefined && value > field.max) return t('form.max', { max: show(field.max) })
  }
  if (typeof value === 'string') {
    if (field.minLength !== undefined && value.length < field.minLength) return t('form.min_length', { count: field.minLength })
    const limit = field.maxLength ?? (field.format === 'name' ? 128 : undefined)
    if (limit !== undefined && value.length > limit) return t('form.max_length', { count: limit })
    if (value && field.format === 'name' && (!NAME.test(value) || /\.\.| {2}| $/.test(value))) return t('form.name')
    if (value && field.format === 'path' && !value.startsWith('/')) return t('form.path')
    if (value && field.format === 'mac' && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value)) return t('form.mac')
    if (value && field.values && !field.values.includes(value)) return t('form.choice')
  }
  return undefined
}

/** What is wrong with a field's value, or nothing. */
export function checkField(field: Field, value: unknown, creating: boolean): string | undefined {
  const absent = value === undefined || value === null || value === ''
  if (absent) return (creating && field.required) || (!creating && field.required && value === '') ? t('form.required') : undefined
  if (Array.isArray(value)) {
    if (field.maxItems !== undefined && value.length > field.maxItems) return t('form.max_items', { count: field.maxItems })
    if (field.type !== 'object') return value.map((one) => checkScalar(field, one)).find(Boolean)
    return undefined
  }
  return checkScalar(field, value)
}

/** Every wrong field below a value, by its path. */
export function checkAll(schema: string, values: Body, creating: boolean, prefix = ''): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, field] of Object.entries(schemas[schema].fields)) {
    if (!(creating ? field.create : field.change)) continue
    const value = values[name]
    const problem = checkField(field, value, creating)
    if (problem) out[prefix + name] = problem
    if (field.type !== 'object' || !value) continue
    const items = field.array ? (value as Body[]) : [value as Body]
    items.forEach((item, index) => Object.assign(out, checkAll(field.schema!, item, creating, `${prefix}${name}${field.array ? `[${index}]` : ''}.`)))
  }
  return out
}

export interface FormState {
  schema: string
  creating: boolean
  values: Body
  get: (path: string) => unknown
  set: (path: string, value: unknown) => void
  reset: (values: Body) => void
  /** What is wrong with a field: once it was left or sending was tried. */
  error: (path: string) => string | undefined
  touch: (path: string) => void
  /** What would be sent: at creation what was filled in, otherwise what has changed. */
  body: Body
  changed: boolean
  /** Shows what is wrong everywhere; whether nothing is. */
  validate: () => boolean
  /** Shows what the API refused, at its field where it names one; problem holds what belongs to none. */
  fail: (error: unknown) => void
  problem: unknown
}

function without(body: Body): Body {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined && value !== ''))
}

export function useForm(schema: string, mode: 'create' | 'change' | '', initial: Body = {}): FormState {
  const creating = mode !== 'change'
  const first = useRef(initial)
  const [values, setValues] = useState<Body>(initial)
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set())
  const [tried, setTried] = useState(false)
  const [refused, setRefused] = useState<{ path: string; message: string; value: unknown }>()
  const [problem, setProblem] = useState<unknown>()
  const problems = useMemo(() => checkAll(schema, values, creating), [schema, values, creating])

  const body = useMemo(() => {
    if (creating) return without(values)
    const before = first.current
    return Object.fromEntries(Object.entries(values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])))
  }, [values, creating])

  const set = useCallback((path: string, value: unknown) => {
    setValues((old) => setAt(old, path, value))
    setTouched((old) => new Set(old).add(path))
  }, [])
  const reset = useCallback((next: Body) => {
    first.current = next
    setValues(next)
    setTouched(new Set())
    setTried(false)
    setRefused(undefined)
    setProblem(undefined)
  }, [])
  const touch = useCallback((path: string) => setTouched((old) => (old.has(path) ? old : new Set(old).add(path))), [])
  const fail = useCallback(
    (error: unknown) => {
      const path = error instanceof ApiError ? error.field : undefined
      setRefused(path ? { path, message: said((error as ApiError).message), value: getAt(values, path) } : undefined)
      setProblem(error)
    },
    [values],
  )
  const error = (path: string) => {
    if (refused && (refused.path === path || refused.path.startsWith(path + '.') || refused.path.startsWith(path + '[')) && getAt(values, refused.path) === refused.value) return refused.message
    return tried || touched.has(path) ? problems[path] : undefined
  }
  return {
    schema,
    creating,
    values,
    get: (path) => getAt(values, path),
    set,
    reset,
    error,
    touch,
    body,
    changed: Object.keys(body).length > 0,
    validate: () => {
      setTried(true)
      return Object.keys(problems).length === 0
    },
    fail,
    problem,
  }
}
