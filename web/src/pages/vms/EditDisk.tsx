// SPDX-License-Identifier: Apache-2.0
import type { Vm } from '@/api/types'
import { t } from '@/i18n'
import { eq } from '@/live/match'
import { Field } from '@/ui/Field'
import type { Body } from '@/ui/form'
import { ItemDialog } from './ItemDialog'
import { plainDisks } from './model'

/** How a disk is attached, or a CD drive, new where there is none at the index. */
export default function EditDisk({ vm, index, drive, onClose }: { vm: Vm; index: number; drive: boolean; onClose: () => void }) {
  const disks = plainDisks(vm) as unknown as Body[]
  const old = disks[index]
  const initial: Body = old ?? { cdrom: true, bus: 'sata' }
  return (
    <ItemDialog
      vm={vm}
      title={t(drive ? (old ? 'vms.cd_edit' : 'vms.cd_add') : 'vms.disk_edit')}
      button={t(old ? 'vms.save' : 'vms.add')}
      list="disks"
      index={index}
      schema="VmDisk"
      initial={initial}
      items={(item) => (old ? disks.map((one, i) => (i === index ? item : one)) : [...disks, item])}
      onClose={onClose}
    >
      {(form) => (
        <>
          {drive && !old ? <Field form={form} path="iso" absent={t('vms.cd_empty')} filter={[eq('state', 'ready')]} /> : null}
          <Field form={form} path="bus" hide={drive ? ['virtio-blk'] : vm.machine === 'microvm' ? ['sata'] : []} />
          {drive ? null : <Field form={form} path="read_only" />}
        </>
      )}
    </ItemDialog>
  )
}
