// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'

export const routes: RouteObject[] = [
  { path: 'pools', lazy: () => import('./PoolList') },
  { path: 'pools/:id/:tab?', lazy: () => import('./PoolPage') },
  { path: 'rules/:id', lazy: () => import('./RulePage') },
]
