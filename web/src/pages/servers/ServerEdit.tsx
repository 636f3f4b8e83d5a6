// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'

export default function ServerEdit({ objects: [server], onClose }: DialogProps<'server'>) {
  const { name, description, tags } = server
  return (
    <OperationDialog
      operation="server_change"
      title={t('servers.edit', { name })}
      button={t('ui.save')}
      params={{ server: server.id! }}
      shownParams={{ server: name }}
      ifMatch={server.revision}
      initial={{ name, description, tags }}
      fields={['name', 'description', 'tags']}
      onClose={onClose}
    />
  )
}
