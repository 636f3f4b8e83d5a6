// SPDX-License-Identifier: Apache-2.0
import { Alert } from '@patternfly/react-core'
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

/** Asks about a server's power, or switches it. */
export default function FenceNow({ objects: [server], onClose }: DialogProps<'server'>) {
  return (
    <OperationDialog
      operation="server_fence"
      title={t('servers.fence_now', { name: server.name })}
      button={t('servers.fence_do')}
      params={{ server: server.id! }}
      shownParams={{ server: server.name }}
      initial={{ action: 'status' }}
      onClose={onClose}
    >
      {(form) => (
        <>
          <p>{t('servers.fence_now_text')}</p>
          <Field form={form} path="action" />
          {form.get('action') === 'status' || form.get('action') === 'on' ? null : <Alert isInline variant="danger" title={t('servers.fence_warning', { name: server.name })} />}
        </>
      )}
    </OperationDialog>
  )
}
