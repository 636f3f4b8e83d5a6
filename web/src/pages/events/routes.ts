// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'
import type { NavEntry } from '@/shell/nav'

export const routes: RouteObject[] = [{ path: 'events', lazy: () => import('./EventList') }]
export const nav: NavEntry[] = [{ to: '/events', kind: 'event', operation: 'event_list', group: 'administration', order: 1 }]
