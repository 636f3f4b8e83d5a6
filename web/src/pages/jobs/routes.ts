// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'
import type { NavEntry } from '@/shell/nav'

export const routes: RouteObject[] = [
  { path: 'jobs', lazy: () => import('./JobList') },
  { path: 'jobs/:id', lazy: () => import('./JobPage') },
]
export const nav: NavEntry[] = [{ to: '/jobs', kind: 'job', operation: 'job_list', group: 'administration', order: 0 }]
