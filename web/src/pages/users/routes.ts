// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'
import type { NavEntry } from '@/shell/nav'

export const routes: RouteObject[] = [
  { path: 'users/:tab?', lazy: () => import('./UsersPage') },
]
export const nav: NavEntry[] = [{ to: '/users', kind: 'user', operation: 'user_list', group: 'administration', order: 2 }]
