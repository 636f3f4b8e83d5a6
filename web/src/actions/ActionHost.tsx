// SPDX-License-Identifier: Apache-2.0
// Runs actions wherever they are offered: asks first where that is due, calls the operation for each object, tells what failed.
import { createContext, lazy, Suspense, useCallback, useContext, useMemo, useState, type ComponentType, type ReactNode } from 'react'
import { useNavigate } from 'react-router-dom'
import { ApiError, call } from '@/api/client'
import type { Kind, Kinds } from '@/api/types'
import { t } from '@/i18n'
import { errorText } from '@/ui/ErrorAlert'
import { useToasts } from '@/ui/Toasts'
import { isEnabled, type Action, type DialogProps } from './index'

const ConfirmAction = lazy(() => import('./ConfirmAction'))

type Run = <K extends Kind>(action: Action<K> | Action, objects: Kinds[K][]) => void
const RunContext = createContext<Run>(() => {})

export const useRunAction = () => useContext(RunContext)

const dialogs = new Map<Action, ComponentType<DialogProps>>()
function dialogOf(action: Action) {
  let Dialog = dialogs.get(action)
  if (!Dialog) {
    Dialog = lazy(action.dialog!) as ComponentType<DialogProps>
    dialogs.set(action, Dialog)
  }
  return Dialog
}

function nameOf(object: Kinds[Kind]) {
  return (object as { name?: string }).name ?? object.id!
}

/** Five at a time: a selection of a hundred must not take all of the browser's connections. */
export async function performAction(action: Action, objects: Kinds[Kind][]) {
  const failed: { object: Kinds[Kind]; error: ApiError }[] = []
  const queue = [...objects]
  const work = async () => {
    for (let object = queue.shift(); object; object = queue.shift()) {
      const { params, body } = action.request?.(object as never) ?? {}
      try {
        await call(action.operation, { params: params ?? { [action.kind]: object.id! }, body })
      } catch (error) {
        failed.push({ object, error: error instanceof ApiError ? error : new ApiError(0, 'internal', String(error)) })
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(5, objects.length) }, work))
  return failed
}

export function ActionHost({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState<{ action: Action; objects: Kinds[Kind][] }>()
  const toasts = useToasts()
  const navigate = useNavigate()

  const perform = useCallback(
    async (action: Action, objects: Kinds[Kind][]) => {
      const failed = await performAction(action, objects)
      for (const { object, error } of failed.slice(0, 3)) {
        toasts.add({ variant: 'danger', title: t('ui.action_failed', { action: t(`action.${action.id}`), name: nameOf(object) }), text: errorText(error) })
      }
      if (failed.length > 3) toasts.add({ variant: 'danger', title: t('ui.more_failed', { count: failed.length - 3 }) })
      if (!failed.length && action.after && objects.length === 1 && window.location.pathname.includes(objects[0].id!)) navigate(action.after)
      return failed
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
      {children}
      <Suspense fallback={null}>{dialog}</Suspense>
    </RunContext.Provider>
  )
}
