// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

export default function FenceEdit({ objects: [server], onClose }: DialogProps<'server'>) {
  const fence = server.fence ?? {}
  const { agent, address, port, user, options } = fence as Record<string, unknown>
  return (
    <OperationDialog
      operation="server_change"
      title={t('servers.fencing', { name: server.name })}
      button={t('ui.save')}
      params={{ server: server.id! }}
      shownParams={{ server: server.name }}
      ifMatch={server.revision}
      initial={{ fence: { agent, address, port, user, options } }}
      onClose={onClose}
    >
      {(form) => (
        <>
          <p className="tarn-dim">{t('servers.fencing_text')}</p>
          <Field form={form} path="fence.agent" help={t('servers.fence_agent_help')} />
          <Field form={form} path="fence.address" />
          <Field form={form} path="fence.port" />
          <Field form={form} path="fence.user" />
          <Field form={form} path="fence.password" type="password" autoComplete="new-password" help={t('servers.fence_password_help')} />
          <Field form={form} path="fence.options" />
        </>
      )}
    </OperationDialog>
  )
}
