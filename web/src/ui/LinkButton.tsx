// SPDX-License-Identifier: Apache-2.0
import { Button, type ButtonProps } from '@patternfly/react-core'
import type { ReactNode } from 'react'
import { useNavigate } from 'react-router-dom'

/** A button that leads to another page, and is a link to those who open it in a new tab. */
export function LinkButton({ to, variant = 'primary', children }: { to: string; variant?: ButtonProps['variant']; children: ReactNode }) {
  const navigate = useNavigate()
  return (
    <Button
      component="a"
      href={to}
      variant={variant}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return
        event.preventDefault()
        navigate(to)
      }}
    >
      {children}
    </Button>
  )
}
