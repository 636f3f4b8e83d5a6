// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'

export const routes: RouteObject[] = [
  { path: 'users/:tab?', lazy: () => import('./UsersPage') },
]
