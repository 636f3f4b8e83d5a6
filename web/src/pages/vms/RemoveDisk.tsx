// SPDX-License-Identifier: Apache-2.0
import { Checkbox } from '@patternfly/react-core'
import { useState } from 'react'
import { call } from '@/api/client'
import { useCan } from '@/api/session'
import type { Disk, Vm } from '@/api/types'
import { t } from '@/i18n'
import { size } from '@/i18n/format'
import { Confirm } from '@/ui/Confirm'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { plainDisks } from './model'

/** Takes a disk away from a virtual machine; it lives on unless it is to be deleted as well. */
export default function RemoveDisk({ vm, index, disk, onClose }: { vm: Vm; index: number; disk: Disk | undefined; onClose: () => void }) {
  const [erase, setErase] = useState(false)
  const [revision] = useState(vm.revision)
  const can = useCan()
  const disks = plainDisks(vm).filter((_one, i) => i !== index)
  const name = disk?.name ?? t('vms.cd_drive')
  const body = { disks }
  return (
    <Confirm
      key={String(erase)}
      title={disk ? t('vms.disk_remove_title', { name, vm: vm.name }) : t('vms.cd_remove')}
      text={!disk ? undefined : erase ? t('vms.disk_erase_lost', { name, size: size(disk.size) }) : t('vms.disk_remove_text')}
      names={[name]}
      typed={erase}
      danger={erase}
      button={t(erase ? 'vms.disk_erase' : 'vms.disk_remove')}
      onClose={onClose}
      onConfirm={async () => {
        await call('vm_change', { params: { vm: vm.id! }, body, ifMatch: revision })
        if (erase && disk) await call('disk_delete', { params: { disk: disk.id! } })
        onClose()
      }}
    >
      {disk && can('disk_delete') ? <Checkbox id="erase-disk" className="tarn-gap-top" label={t('vms.disk_erase_too')} isChecked={erase} onChange={(_e, on) => setErase(on)} /> : null}
      <ShowAsCommand operation="vm_change" params={{ vm: vm.name }} body={body} />
    </Confirm>
  )
}
