// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'

export default function DiskEdit({ objects: [disk], onClose }: DialogProps<'disk'>) {
  return (
    <OperationDialog
      operation="disk_change"
      title={t('disks.edit', { name: disk.name })}
      button={t('ui.save')}
      params={{ disk: disk.id! }}
      shownParams={{ disk: disk.name }}
      ifMatch={disk.revision}
      initial={{ name: disk.name, description: disk.description }}
      fields={['name', 'description']}
      onClose={onClose}
    />
  )
}
