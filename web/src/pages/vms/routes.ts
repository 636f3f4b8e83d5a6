// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'

export const routes: RouteObject[] = [
  { path: 'vms', lazy: () => import('./VmList') },
  { path: 'vms/create', lazy: () => import('./create/Create') },
  { path: 'vms/:id/:tab?', lazy: () => import('./VmPage') },
]

export const windows: RouteObject[] = [{ path: 'vms/:id/console', lazy: () => import('./ConsoleWindow') }]
