// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'

export const routes: RouteObject[] = [
  { path: 'servers', lazy: () => import('./ServerList') },
  { path: 'servers/:id/:tab?', lazy: () => import('./ServerPage') },
]
