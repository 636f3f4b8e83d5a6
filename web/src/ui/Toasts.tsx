// SPDX-License-Identifier: Apache-2.0
import { Alert, AlertActionCloseButton, AlertGroup } from '@patternfly/react-core'
import { createContext, useCallback, useContext, useMemo, useState, type ReactNode } from 'react'

export interface Toast {
  variant: 'success' | 'danger' | 'warning' | 'info'
  title: string
  text?: ReactNode
  action?: ReactNode
  /** It is read at leisure, and goes when it is closed. */
  stays?: boolean
}

interface Toasts {
  add: (toast: Toast) => void
}
const Context = createContext<Toasts>({ add: () => {} })
export const useToasts = () => useContext(Context)

let last = 0
const MOST = 5

/** Of too many the oldest goes, first of those that would go by themselves. */
function kept<T extends Toast>(toasts: T[]): T[] {
  if (toasts.length <= MOST) return toasts
  const leaving = toasts.find((toast, index) => !toast.stays && index < toasts.length - 1) ?? toasts[0]
  return toasts.filter((toast) => toast !== leaving)
}

export function ToastHost({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<(Toast & { key: number })[]>([])
  const remove = useCallback((key: number) => setToasts((old) => old.filter((toast) => toast.key !== key)), [])
  const add = useCallback((toast: Toast) => setToasts((old) => kept([...old, { ...toast, key: ++last }])), [])
  const value = useMemo(() => ({ add }), [add])
  return (
    <Context.Provider value={value}>
      {children}
      <AlertGroup isToast isLiveRegion>
        {toasts.map((toast) => (
          <Alert
            key={toast.key}
            variant={toast.variant}
            title={toast.title}
            timeout={toast.stays ? false : toast.variant === 'danger' ? 15000 : 6000}
            onTimeout={() => remove(toast.key)}
            actionClose={<AlertActionCloseButton title={toast.title} onClose={() => remove(toast.key)} />}
            actionLinks={toast.action}
          >
            {toast.text}
          </Alert>
        ))}
      </AlertGroup>
    </Context.Provider>
  )
}
