// SPDX-License-Identifier: Apache-2.0
import { Alert } from '@patternfly/react-core'
import { ApiError } from '@/api/client'
import { hasText, said, t } from '@/i18n'
import { Reason } from './Reason'

/** What went wrong, in the user's language; the API's own words say what exactly. */
export function errorTitle(error: unknown) {
  const code = error instanceof ApiError ? error.code : 'internal'
  return t(hasText(`error.${code}`) ? `error.${code}` : 'error.internal')
}

export function errorText(error: unknown) {
  if (error instanceof ApiError && error.code === 'unreachable') return t('error.unreachable')
  return said(rawText(error))
}

function rawText(error: unknown) {
  return error instanceof Error ? error.message : String(error)
}

export function ErrorAlert({ error, inline = true }: { error: unknown; inline?: boolean }) {
  if (!error) return null
  const unreachable = error instanceof ApiError && error.code === 'unreachable'
  return (
    <Alert variant="danger" isInline={inline} title={errorTitle(error)}>
      {unreachable ? null : <Reason text={rawText(error)} />}
    </Alert>
  )
}
