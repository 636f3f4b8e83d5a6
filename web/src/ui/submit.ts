// SPDX-License-Identifier: Apache-2.0
// Sending a form: once at a time, only what is valid; what is wrong is shown where it stands, and brought into view.
import { useCallback, useEffect, useRef, useState, type FormEvent } from 'react'
import { errorText, errorTitle } from './ErrorAlert'
import type { FormState } from './form'
import { useToasts } from './Toasts'

/** Brings the first thing that is wrong into view: a field, to be typed into at once, or what was said of the whole. */
export function showProblem() {
  // When it has been drawn.
  window.setTimeout(() => {
    const dialogs = document.querySelectorAll<HTMLElement>('[role=dialog]')
    const root: ParentNode = dialogs[dialogs.length - 1] ?? document.querySelector('.tarn-page') ?? document
    const field = root.querySelector<HTMLElement>('[aria-invalid="true"], .pf-m-danger input, .pf-m-error input')
    const at = field ?? root.querySelector<HTMLElement>('.pf-v6-c-alert.pf-m-danger, .pf-v6-c-helper-text__item.pf-m-error')
    at?.scrollIntoView({ block: 'center' })
    field?.focus({ preventScroll: true })
  })
}

/** Whether it is still there: what goes on after a dialog was closed has nobody left in it to tell. */
export function useMounted() {
  const mounted = useRef(true)
  useEffect(() => {
    mounted.current = true
    return () => void (mounted.current = false)
  }, [])
  return mounted
}

interface Options {
  /** Whether it may be sent at all, beside what the form itself finds. */
  ready?: boolean
  /** What the form is told of an error; nothing of one that is none. */
  refused?: (error: unknown) => unknown
  /** What has failed, should the form be closed by then. */
  title?: string
}

export interface Submit {
  busy: boolean
  submit: () => Promise<void>
  /** For <Form onSubmit>. */
  onSubmit: (event: FormEvent) => void
}

/** `send` closes what is to be closed. */
export function useSubmit(form: FormState, send: () => Promise<unknown>, { ready = true, refused = (error) => error, title }: Options = {}): Submit {
  const [busy, setBusy] = useState(false)
  const under = useRef(false)
  const mounted = useMounted()
  const toasts = useToasts()
  const latest = useRef({ form, send, ready, refused, title, toasts })
  latest.current = { form, send, ready, refused, title, toasts }
  const submit = useCallback(async () => {
    const now = latest.current
    if (under.current || !now.ready) return
    if (!now.form.validate()) {
      showProblem()
      return
    }
    under.current = true
    setBusy(true)
    try {
      await now.send()
    } catch (error) {
      const told = latest.current.refused(error)
      if (told && !mounted.current) latest.current.toasts.add({ variant: 'danger', title: latest.current.title ?? errorTitle(told), text: errorText(told) })
      else if (told) {
        latest.current.form.fail(told)
        showProblem()
      }
    } finally {
      under.current = false
      setBusy(false)
    }
  }, [mounted])
  const onSubmit = useCallback(
    (event: FormEvent) => {
      event.preventDefault()
      void submit()
    },
    [submit],
  )
  return { busy, submit, onSubmit }
}
