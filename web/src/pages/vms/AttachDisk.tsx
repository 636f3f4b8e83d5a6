// SPDX-License-Identifier: Apache-2.0
import { FormGroup } from '@patternfly/react-core'
import type { Vm } from '@/api/types'
import { fieldLabel, t } from '@/i18n'
import { size } from '@/i18n/format'
import { eq } from '@/live/match'
import { Field } from '@/ui/Field'
import { RefPicker } from '@/ui/RefPicker'
import { ItemDialog } from './ItemDialog'
import { plainDisks } from './model'

/** A virtual disk that no virtual machine has. */
export default function AttachDisk({ vm, onClose }: { vm: Vm; onClose: () => void }) {
  const disks = plainDisks(vm)
  const label = fieldLabel('VmDisk', 'disk')
  return (
    <ItemDialog
      vm={vm}
      title={t('vms.disk_attach')}
      button={t('vms.add')}
      list="disks"
      index={disks.length}
      schema="VmDisk"
      initial={{}}
      items={(item) => [...disks, item]}
      ready={(form) => !!form.get('disk')}
      onClose={onClose}
    >
      {(form) => (
        <>
          <FormGroup label={label} fieldId="attach-disk" isRequired>
            <RefPicker id="attach-disk" kind="disk" label={label} value={form.get('disk') as string | undefined} onChange={(id) => form.set('disk', id)} filter={[eq('vm', ''), eq('state', 'ready')]} describe={(disk) => size(disk.size)} />
          </FormGroup>
          <Field form={form} path="bus" hide={vm.machine === 'microvm' ? ['sata'] : []} />
          <Field form={form} path="read_only" />
        </>
      )}
    </ItemDialog>
  )
}
