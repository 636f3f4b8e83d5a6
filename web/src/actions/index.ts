// SPDX-License-Identifier: Apache-2.0
// What can be done to objects. Each area exports its list from pages/AREA/actions.ts; tree, tables and page headers offer
// them from here, so that an action is written once. One action is one operation of the API.
import type { ComponentType } from 'react'
import type { OperationId, Params, Query } from '@/api/client'
import { can } from '@/api/session'
import type { Job, Kind, Kinds } from '@/api/types'
import { t } from '@/i18n'
import { jobTitle } from '@/ui/jobs'
import type { Toast } from '@/ui/Toasts'

export interface DialogProps<K extends Kind = Kind> {
  objects: Kinds[K][]
  onClose: () => void
}

export interface Action<K extends Kind = Kind> {
  /** Its label is t(`action.${id}`), e.g. vm.start. */
  id: string
  kind: K
  operation: OperationId
  /** Whether it can be done to the object as it is now; where it cannot, it is shown disabled, or not at all if `hide`. */
  enabled?: (object: Kinds[K]) => boolean
  hide?: boolean
  danger?: boolean
  /** Shown as a button in the page's header rather than in its menu. */
  primary?: boolean
  /** Offered for a selection in tables too. */
  bulk?: boolean
  /** A line is drawn above it in menus. */
  separated?: boolean
  /** Done at once: the parameter is the object's id unless said otherwise. */
  request?: (object: Kinds[K]) => { params?: Params; query?: Query; body?: Record<string, unknown> }
  /** Asked before: 'yes' a question, t(`action.${id}_ask`) with {name}; 'name' the name is to be typed, and
      t(`action.${id}_lost`) says what will be lost. */
  confirm?: 'yes' | 'name'
  /** Where to go when it is done and the object is no more. */
  after?: string
  /** What people are to know of the answer, if anything; of one that is done to several it is not shown. */
  told?: (answer: unknown, object: Kinds[K]) => Toast | undefined
  /** A dialog of its own instead. */
  dialog?: () => Promise<{ default: ComponentType<DialogProps<K>> }>
  /** A page instead. */
  to?: (object: Kinds[K]) => string
}

const files = import.meta.glob<{ actions: Action[] }>('../pages/*/actions.ts', { eager: true })
const all: Action[] = Object.values(files).flatMap((file) => file.actions)

/** Keeps the kind's type where actions are listed. */
export function defineActions<K extends Kind>(kind: K, list: Omit<Action<K>, 'kind'>[]): Action[] {
  return list.map((action) => ({ ...action, kind }) as unknown as Action)
}

/** What the signed-in role may do to objects of the kind. */
export function actionsFor(kind: Kind): Action[] {
  return all.filter((action) => action.kind === kind && can(action.operation))
}

/** What an action is called in a sentence: without the dots that announce a dialog. */
export const actionName = (action: Action) => t(`action.${action.id}`).replace(/\s*…$/, '')

/** What people call it. Jobs have no names. */
export function nameOf(kind: Kind, object: Kinds[Kind]): string {
  if (kind === 'job') return jobTitle(object as Job)
  return (object as { name?: string }).name || object.id!
}

export function isEnabled(action: Action, objects: unknown[]) {
  return objects.some((object) => !action.enabled || action.enabled(object as never))
}
