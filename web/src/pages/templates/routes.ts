// SPDX-License-Identifier: Apache-2.0
import type { RouteObject } from 'react-router-dom'

export const routes: RouteObject[] = [
  { path: 'templates', lazy: () => import('./TemplateList') },
  { path: 'templates/import', lazy: () => import('./TemplateImport') },
  { path: 'templates/:id/:tab?', lazy: () => import('./TemplatePage') },
]
