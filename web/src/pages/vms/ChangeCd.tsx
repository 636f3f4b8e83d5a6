// SPDX-License-Identifier: Apache-2.0
import type { Vm } from '@/api/types'
import { t } from '@/i18n'
import { eq } from '@/live/match'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'
import { isCd } from './model'

/** What is in a CD drive, changed while it runs or not. */
export default function ChangeCd({ vm, index, onClose }: { vm: Vm; index: number; onClose: () => void }) {
  const drives = vm.disks ?? []
  const drive = drives.slice(0, index).filter(isCd).length
  return (
    <OperationDialog
      operation="vm_cdrom"
      title={t('vms.cd_change')}
      button={t('vms.cd_set')}
      params={{ vm: vm.id! }}
      shownParams={{ vm: vm.name }}
      initial={{ drive, iso: drives[index]?.iso || undefined }}
      onClose={onClose}
    >
      {(form) => <Field form={form} path="iso" absent={t('vms.cd_empty')} filter={[eq('state', 'ready')]} />}
    </OperationDialog>
  )
}
