// SPDX-License-Identifier: Apache-2.0
import { Suspense } from 'react'
import { Outlet } from 'react-router-dom'
import { ActionHost } from '@/actions/ActionHost'
import { Loading } from '@/ui/Empty'
import { ToastHost } from '@/ui/Toasts'
import { SignInAgain } from './SignIn'

/** A window without the shell, e.g. a console's: dialogs, messages and signing in again work in it all the same. */
export function Bare() {
  return (
    <ToastHost>
      <ActionHost>
        <Suspense fallback={<Loading />}>
          <Outlet />
        </Suspense>
        <SignInAgain />
      </ActionHost>
    </ToastHost>
  )
}
