// SPDX-License-Identifier: Apache-2.0
// Runs actions wherever they are offered: asks first where that is due, calls the operation for each object, tells what failed;
// of several objects, what became of each.
import { createContext, lazy, Suspense, useCallback, useContext, useMemo, useState, type ComponentType, type ReactNode } from 'react'
import { useNavigate } from 'react-router-dom'
import type { Kind, Kinds } from '@/api/types'
import { t } from '@/i18n'
import { errorText } from '@/ui/ErrorAlert'
import { useToasts } from '@/ui/Toasts'
import { actionName, isEnabled, nameOf, type Action, type DialogProps } from './index'
import { requestAction } from './perform'

const ConfirmAction = lazy(() => import('./ConfirmAction'))
const Results = lazy(() => import('./Results'))

type Run = <K extends Kind>(action: Action<K> | Action, objects: Kinds[K][]) => void
const RunContext = createContext<Run>(() => {})

export const useRunAction = () => useContext(RunContext)

type Perform = (action: Action, objects: Kinds[Kind][]) => Promise<void>
const PerformContext = createContext<Perform>(async () => {})

/** For dialogs of actions: does it, without asking any more. */
export const usePerformAction = () => useContext(PerformContext)

const dialogs = new Map<Action, ComponentType<DialogProps>>()
function dialogOf(action: Action) {
  let Dialog = dialogs.get(action)
  if (!Dialog) {
    Dialog = lazy(action.dialog!) as ComponentType<DialogProps>
    dialogs.set(action, Dialog)
  }
  return Dialog
}

export function ActionHost({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState<{ action: Action; objects: Kinds[Kind][] }>()
  const [doing, setDoing] = useState<{ action: Action; objects: Kinds[Kind][] }>()
  const toasts = useToasts()
  const navigate = useNavigate()

  const perform = useCallback<Perform>(
    async (action, objects) => {
      if (objects.length > 1) {
        setDoing({ action, objects })
        return
      }
      try {
        const { answer } = await requestAction(action, objects[0])
        const toast = action.told?.(answer, objects[0] as never)
        if (toast) toasts.add(toast)
        if (action.after && window.location.pathname.includes(objects[0].id!)) navigate(action.after)
      } catch (error) {
        toasts.add({ variant: 'danger', title: t('ui.action_failed', { action: actionName(action), name: nameOf(action.kind, objects[0]) }), text: errorText(error) })
      }
    },
    [toasts, navigate],
  )

  const run = useCallback<Run>(
    (action, objects) => {
      const a = action as Action
      const able = (objects as Kinds[Kind][]).filter((object) => isEnabled(a, [object]))
      if (!able.length) return
      if (a.to) navigate(a.to(able[0] as never))
      else if (a.dialog || a.confirm) setOpen({ action: a, objects: able })
      else void perform(a, able)
    },
    [navigate, perform],
  )

  const close = useCallback(() => setOpen(undefined), [])
  const dialog = useMemo(() => {
    if (!open) return null
    if (!open.action.dialog) return <ConfirmAction {...open} onClose={close} perform={perform} />
    const Dialog = dialogOf(open.action)
    return <Dialog objects={open.objects} onClose={close} />
  }, [open, close, perform])

  return (
    <RunContext.Provider value={run}>
      <PerformContext.Provider value={perform}>
        {children}
        <Suspense fallback={null}>
          {dialog}
          {doing ? <Results {...doing} onClose={() => setDoing(undefined)} /> : null}
        </Suspense>
      </PerformContext.Provider>
    </RunContext.Provider>
  )
}
