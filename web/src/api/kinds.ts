// SPDX-License-Identifier: Apache-2.0
// Kinds of objects and the operations that every kind has, found in the description rather than listed by hand.
import { call, type OperationId, type Query } from './client'
import { description, schemas, type Schema } from './description'
import { plurals, type Kind, type Kinds } from './types'

export interface Page<T> {
  items: T[]
  next?: string
  total?: number
  revision: number
}

export type AnyObject = { id: string; revision: number; name?: string }

export function isKind(kind: string): kind is Kind {
  return kind in plurals
}

const byKind = new Map<string, [string, Schema]>(Object.entries(schemas).flatMap(([name, s]) => (s.kind ? [[s.kind, [name, s]]] : [])))

export function schemaName(kind: Kind) {
  return byKind.get(kind)![0]
}

export function hasOperation(operation: string): operation is OperationId {
  return operation in description
}

export function getObject<K extends Kind>(kind: K, id: string, query: Query = {}, signal?: AbortSignal): Promise<Kinds[K]> {
  const operation = `${kind}_show`
  // Uploads, tokens and events have no page of their own everywhere: a list of one serves as well.
  if (hasOperation(operation)) return call(operation, { params: { [kind]: id }, query, signal }) as Promise<Kinds[K]>
  return listObjects(kind, { filter: `id=${id}`, limit: 1 }, signal).then((page) => {
    if (!page.items[0]) throw new Error('gone')
    return page.items[0]
  })
}

export function listObjects<K extends Kind>(kind: K, query: Query = {}, signal?: AbortSignal): Promise<Page<Kinds[K]>> {
  return call(`${kind}_list` as OperationId, { query, signal }) as Promise<Page<Kinds[K]>>
}
