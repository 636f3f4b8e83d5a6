// SPDX-License-Identifier: Apache-2.0
import { Alert, AlertActionCloseButton, AlertGroup } from '@patternfly/react-core'
import { createContext, useCallback, useContext, useMemo, useState, type ReactNode } from 'react'

export interface Toast {
  variant: 'success' | 'danger' | 'warning' | 'info'
  title: string
  text?: ReactNode
  action?: ReactNode
}

interface Toasts {
  add: (toast: Toast) => void
}
const Context = createContext<Toasts>({ add: () => {} })
export const useToasts = () => useContext(Context)

let last = 0

export function ToastHost({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<(Toast & { key: number })[]>([])
  const remove = useCallback((key: number) => setToasts((old) => old.filter((toast) => toast.key !== key)), [])
  const add = useCallback((toast: Toast) => setToasts((old) => [...old.slice(-4), { ...toast, key: ++last }]), [])
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
            timeout={toast.variant === 'danger' ? 15000 : 6000}
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
