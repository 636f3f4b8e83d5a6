// SPDX-License-Identifier: Apache-2.0
// Who is signed in. A session that ends under way is "expired": the page stays, and a dialog asks to sign in again.
import { useSyncExternalStore } from 'react'
import { ApiError, call, onFailure, setCsrf, type OperationId } from './client'
import { description } from './description'
import type { Session } from './types'

export interface SessionState {
  state: 'unknown' | 'out' | 'in' | 'expired'
  user: string
  role: string
  tokenId: string
}

const AGAIN_MS = 1500
let current: SessionState = { state: 'unknown', user: '', role: '', tokenId: '' }
const listeners = new Set<() => void>()

function set(next: Partial<SessionState>) {
  current = { ...current, ...next }
  listeners.forEach((tell) => tell())
}

function subscribe(listener: () => void) {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}

export function session() {
  return current
}
export function onSession(listener: () => void) {
  return subscribe(listener)
}
export function useSession() {
  return useSyncExternalStore(subscribe, session)
}

function enter(s: Session) {
  setCsrf(s.csrf)
  set({ state: 'in', user: s.user, role: s.role, tokenId: s.token_id })
}

/** At the beginning. Where the manager does not answer it stays unknown who one is, and is asked again until it does. */
export async function loadSession() {
  try {
    enter(await call('session_show'))
  } catch (error) {
    if (current.state !== 'unknown') return
    if (error instanceof ApiError && error.status === 401) set({ state: 'out' })
    else setTimeout(() => void loadSession(), AGAIN_MS)
  }
}

export async function signIn(name: string, password: string) {
  enter(await call('session_create', { body: { name, password } }))
}

export async function signOut() {
  try {
    await call('session_delete')
  } catch {
    // Ended already, or there is nobody to tell: here it ends all the same.
  } finally {
    setCsrf('')
    set({ state: 'out', user: '', role: '', tokenId: '' })
  }
}

export function expireSession() {
  if (current.state === 'in') set({ state: 'expired' })
}

onFailure((error) => {
  if (error.status === 401) expireSession()
})

/** Whether the signed-in role may do it; what it may not is not offered. */
export function can(operation: OperationId | string) {
  const op = description[operation]
  return !!op && (op.permission === 'none' || op.roles.includes(current.role))
}
export function useCan() {
  useSession()
  return can
}
