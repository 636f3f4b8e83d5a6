// SPDX-License-Identifier: Apache-2.0
// Where the page of an object is: /vms/ID, as in the API.
import { plurals, type Kind } from '@/api/types'

// Kinds whose objects have no page: they are shown on others' pages.
const PAGELESS = new Set(['token', 'event', 'upload', 'user'])

export function listPath(kind: Kind) {
  return `/${plurals[kind]}`
}

export function pathFor(kind: string, id: string) {
  if (!Object.hasOwn(plurals, kind) || PAGELESS.has(kind)) return undefined
  return `${listPath(kind as Kind)}/${encodeURIComponent(id)}`
}
