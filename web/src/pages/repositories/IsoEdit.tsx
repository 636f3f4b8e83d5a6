// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'

export default function IsoEdit({ objects: [iso], onClose }: DialogProps<'iso'>) {
  return (
    <OperationDialog
      operation="iso_change"
      title={t('isos.edit', { name: iso.name })}
      button={t('ui.save')}
      params={{ iso: iso.id! }}
      shownParams={{ iso: iso.name }}
      ifMatch={iso.revision}
      initial={{ name: iso.name, description: iso.description }}
      fields={['name', 'description']}
      onClose={onClose}
    />
  )
}
