// SPDX-License-Identifier: Apache-2.0
import { useEffect } from 'react'
import { createBrowserRouter, Navigate, RouterProvider, type RouteObject } from 'react-router-dom'
import { useSession } from './api/session'
import { useLanguage } from './i18n'
import { live } from './live/store'
import { Bare } from './shell/Bare'
import { NotFound, RouteError } from './shell/Errors'
import { Shell } from './shell/Shell'
import { NoManager, SignIn } from './shell/SignIn'

// Every area brings its own routes: pages/AREA/routes.ts. What opens in a window of its own has none of the shell round it.
const areas = import.meta.glob<{ routes: RouteObject[]; windows?: RouteObject[] }>('./pages/*/routes.ts', { eager: true })

const router = createBrowserRouter([
  {
    element: <Bare />,
    errorElement: <RouteError />,
    hydrateFallbackElement: <></>,
    children: Object.values(areas).flatMap((area) => area.windows ?? []),
  },
  {
    path: '/',
    element: <Shell />,
    errorElement: <RouteError />,
    children: [
      { index: true, element: <Navigate to="/dashboard" replace /> },
      {
        // A page that fails does so inside the shell.
        errorElement: <RouteError />,
        hydrateFallbackElement: <></>,
        children: [...Object.values(areas).flatMap((area) => area.routes), { path: '*', element: <NotFound /> }],
      },
    ],
  },
])

export function App() {
  const { state } = useSession()
  // Another language draws everything anew.
  const language = useLanguage()
  useEffect(() => {
    if (state === 'in') {
      live.start()
      live.reconnect()
    } else if (state === 'out') live.stop()
  }, [state])
  if (state === 'unknown') return <NoManager key={language} />
  if (state === 'out') return <SignIn key={language} />
  return <RouterProvider key={language} router={router} />
}
