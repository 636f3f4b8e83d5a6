// SPDX-License-Identifier: Apache-2.0
import { ClipboardCopy, ExpandableSection } from '@patternfly/react-core'
import { useState, useSyncExternalStore } from 'react'
import type { OperationId, Params, Query } from '@/api/client'
import { description, schemas } from '@/api/description'
import type { Kind } from '@/api/types'
import { live } from '@/live/store'
import { t } from '@/i18n'
import { apiCall, commandLine } from './command'

interface Props {
  operation: OperationId
  params?: Params
  query?: Query
  body?: Record<string, unknown>
}

/** The body with names where it refers to objects by their ids; the API takes both. */
function named(schema: string, body: Record<string, unknown>): Record<string, unknown> {
  const one = (value: unknown, ref: string) => (typeof value === 'string' && value && live.name(ref as Kind, value)) || value
  return Object.fromEntries(
    Object.entries(body).map(([name, value]) => {
      const field = schemas[schema]?.fields[name]
      if (field?.ref) return [name, Array.isArray(value) ? value.map((v) => one(v, field.ref!)) : one(value, field.ref)]
      if (field?.type !== 'object' || !value) return [name, value]
      const inner = (item: unknown) => named(field.schema!, item as Record<string, unknown>)
      return [name, Array.isArray(value) ? value.map(inner) : inner(value)]
    }),
  )
}

/** What a form would do, as the command line and as a request to the API. */
export function ShowAsCommand({ operation, params, query, body: given }: Props) {
  const [open, setOpen] = useState(false)
  const schema = description[operation]?.body?.[0]
  const text = useSyncExternalStore(live.onNames, () => (open && given && schema ? JSON.stringify(named(schema, given)) : ''))
  const body = text ? (JSON.parse(text) as Record<string, unknown>) : given
  const command = open ? commandLine(operation, params, body, query) : undefined
  return (
    <ExpandableSection className="tarn-command" toggleText={t('ui.show_as_command')} isExpanded={open} onToggle={(_e, expanded) => setOpen(expanded)}>
      {command ? <CopyText label={t('ui.command_line')} text={command} /> : null}
      {open ? <CopyText label={t('ui.api_call')} text={apiCall(operation, params, body, window.location.origin, query)} /> : null}
    </ExpandableSection>
  )
}

/** Text to be copied, e.g. a command. */
export function CopyText({ label, text }: { label: string; text: string }) {
  return (
    <div className="tarn-copy">
      <div className="tarn-copy__label">{label}</div>
      <ClipboardCopy isCode isReadOnly isExpanded={text.includes('\n') || text.length > 90} variant={text.includes('\n') || text.length > 90 ? 'expansion' : 'inline'} hoverTip={t('ui.copy')} clickTip={t('ui.copied')} textAriaLabel={label} toggleAriaLabel={label}>
        {text}
      </ClipboardCopy>
    </div>
  )
}
