// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

/** Empties a server: its guests move away, and no other starts there. */
export default function Maintenance({ objects: [server], onClose }: DialogProps<'server'>) {
  return (
    <OperationDialog
      operation="server_maintenance"
      title={t('servers.maintenance', { name: server.name })}
      button={t('servers.maintenance_now')}
      params={{ server: server.id! }}
      shownParams={{ server: server.name }}
      extra={{ on: true }}
      initial={{ on: true }}
      onClose={onClose}
    >
      {(form) => (
        <>
          <p>{t(server.pool ? 'servers.maintenance_text' : 'servers.maintenance_alone')}</p>
          <Field form={form} path="disks" help={t('servers.maintenance_disks_help')} />
          <Field form={form} path="timeout" help={t('servers.maintenance_timeout_help')} />
        </>
      )}
    </OperationDialog>
  )
}
