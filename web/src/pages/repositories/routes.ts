// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'
import type { NavEntry } from '@/shell/nav'

export const routes: RouteObject[] = [
  { path: 'repositories', lazy: () => import('./RepositoryList') },
  { path: 'repositories/:id/:tab?', lazy: () => import('./RepositoryPage') },
  { path: 'isos', lazy: () => import('./IsoList') },
  { path: 'isos/:id/:tab?', lazy: () => import('./IsoPage') },
  { path: 'disks', lazy: () => import('./DiskList') },
  { path: 'disks/:id/:tab?', lazy: () => import('./DiskPage') },
]
export const nav: NavEntry[] = [
  { to: '/disks', kind: 'disk', operation: 'disk_list', group: 'administration', order: -2 },
  { to: '/isos', kind: 'iso', operation: 'iso_list', group: 'administration', order: -1 },
]
