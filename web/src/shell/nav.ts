// SPDX-License-Identifier: Apache-2.0
// Links that are no objects of the tree: each area may export `nav` beside its routes.
import type { Kind } from '@/api/types'
import { can } from '@/api/session'
import { kindLabel, t } from '@/i18n'

export interface NavEntry {
  to: string
  /** A key of a text, or a kind whose plural it is. */
  text?: string
  kind?: Kind
  /** Offered to those who may do this. */
  operation: string
  /** overview: above the tree; administration: below it. */
  group: 'overview' | 'administration'
  order: number
}

const files = import.meta.glob<{ nav?: NavEntry[] }>('../pages/*/routes.ts', { eager: true })
const all = Object.values(files)
  .flatMap((file) => file.nav ?? [])
  .sort((a, b) => a.order - b.order)

export function navEntries(group: NavEntry['group']) {
  return all.filter((entry) => entry.group === group && can(entry.operation))
}

export function navLabel(entry: NavEntry) {
  return entry.kind ? kindLabel(entry.kind, true) : t(entry.text!)
}
