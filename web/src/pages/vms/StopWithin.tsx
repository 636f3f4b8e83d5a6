// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'

/** Shuts down with a time limit of one's own, and force behind it. */
export default function StopWithin({ objects: [vm], onClose }: DialogProps<'vm'>) {
  return (
    <OperationDialog
      operation="vm_stop"
      title={t('vms.stop_title', { name: vm.name })}
      button={t('action.vm.stop')}
      params={{ vm: vm.id! }}
      shownParams={{ vm: vm.name }}
      fields={['timeout', 'force']}
      onClose={onClose}
    />
  )
}
