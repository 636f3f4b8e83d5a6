// SPDX-License-Identifier: Apache-2.0
// Lists' filters and orders, evaluated as the manager does, so that a change on the stream that concerns no page on the
// screen costs no request.

export interface Term {
  field: string
  op: '=' | '!=' | '~'
  value: string
}

export const eq = (field: string, value: string): Term => ({ field, op: '=', value })
export const not = (field: string, value: string): Term => ({ field, op: '!=', value })
export const contains = (field: string, value: string): Term => ({ field, op: '~', value })

/** As the API takes it. A comma would begin the next term, so one that is typed cannot be sent. */
export function filterText(terms: Term[]) {
  return terms.map((term) => `${term.field}${term.op}${term.value.replaceAll(',', ' ')}`).join(',')
}

type Scalar = string | number | boolean

/** The scalars to which a dotted path leads; an array's index may be left out, then all its elements count. */
export function valuesAt(object: unknown, path: string): Scalar[] {
  let at: unknown[] = [object]
  for (const part of path.split('.')) {
    const next: unknown[] = []
    for (const value of at) {
      if (Array.isArray(value)) {
        if (/^\d+$/.test(part)) next.push(value[Number(part)])
        else next.push(...value.map((v) => (v as Record<string, unknown>)?.[part]))
      } else if (value && typeof value === 'object') next.push((value as Record<string, unknown>)[part])
    }
    at = next
  }
  return at.flat().filter((v): v is Scalar => ['string', 'number', 'boolean'].includes(typeof v))
}

export function matches(object: unknown, terms: Term[]) {
  return terms.every((term) => {
    const value = term.value.replaceAll(',', ' ')
    const found = valuesAt(object, term.field).some((v) =>
      term.op === '~' ? String(v).toLowerCase().includes(value.toLowerCase()) : String(v) === value,
    )
    return found !== (term.op === '!=')
  })
}

/** Negative: a comes first. `sort` as the API takes it: a field, with - before it for descending. */
export function compare(a: unknown, b: unknown, sort: string) {
  const descending = sort.startsWith('-')
  const field = descending ? sort.slice(1) : sort
  const [x] = valuesAt(a, field)
  const [y] = valuesAt(b, field)
  let order: number
  if (typeof x === 'number' && typeof y === 'number') order = x - y
  else order = String(x ?? '') < String(y ?? '') ? -1 : String(x ?? '') > String(y ?? '') ? 1 : 0
  return descending ? -order : order
}
