// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'
import type { NavEntry } from '@/shell/nav'

export const routes: RouteObject[] = [{ path: 'dashboard', lazy: () => import('./Dashboard') }]
export const nav: NavEntry[] = [{ to: '/dashboard', text: 'shell.dashboard', operation: 'summary', group: 'overview', order: 0 }]
