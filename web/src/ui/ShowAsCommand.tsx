// SPDX-License-Identifier: Apache-2.0
import { ClipboardCopy, ExpandableSection } from '@patternfly/react-core'
import { useState } from 'react'
import type { OperationId, Params } from '@/api/client'
import { t } from '@/i18n'
import { apiCall, commandLine } from './command'

interface Props {
  operation: OperationId
  params?: Params
  body?: Record<string, unknown>
}

/** What a form would do, as the command line and as a request to the API. */
export function ShowAsCommand({ operation, params, body }: Props) {
  const [open, setOpen] = useState(false)
  const command = open ? commandLine(operation, params, body) : undefined
  return (
    <ExpandableSection className="tarn-command" toggleText={t('ui.show_as_command')} isExpanded={open} onToggle={(_e, expanded) => setOpen(expanded)}>
      {command ? <CopyText label={t('ui.command_line')} text={command} /> : null}
      {open ? <CopyText label={t('ui.api_call')} text={apiCall(operation, params, body, window.location.origin)} /> : null}
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
