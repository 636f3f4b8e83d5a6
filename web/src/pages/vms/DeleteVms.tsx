// SPDX-License-Identifier: Apache-2.0
// Before virtual machines are deleted: which disks go with them and which stay.
import { List, ListItem } from '@patternfly/react-core'
import { actionsFor, type DialogProps } from '@/actions'
import { usePerformAction } from '@/actions/ActionHost'
import type { Disk } from '@/api/types'
import { t } from '@/i18n'
import { size } from '@/i18n/format'
import { useList } from '@/live/hooks'
import { eq } from '@/live/match'
import { Confirm } from '@/ui/Confirm'
import { ShowAsCommand } from '@/ui/ShowAsCommand'

function Names({ title, disks }: { title: string; disks: Disk[] }) {
  if (!disks.length) return null
  return (
    <div className="tarn-gap-top">
      {title}
      <List>
        {disks.slice(0, 8).map((disk) => (
          <ListItem key={disk.id}>
            {disk.name} ({size(disk.size)})
          </ListItem>
        ))}
        {disks.length > 8 ? <ListItem>{t('ui.and_more', { count: disks.length - 8 })}</ListItem> : null}
      </List>
    </div>
  )
}

function DisksOf({ vm }: { vm: string }) {
  const { items } = useList('disk', { filter: [eq('vm', vm)], limit: 40 })
  return (
    <>
      <Names title={t('vms.delete_disks')} disks={items.filter((disk) => disk.made_with_vm)} />
      <Names title={t('vms.delete_keeps')} disks={items.filter((disk) => !disk.made_with_vm)} />
    </>
  )
}

export default function DeleteVms({ objects, onClose }: DialogProps<'vm'>) {
  const perform = usePerformAction()
  const action = actionsFor('vm').find((one) => one.id === 'vm.delete')!
  const one = objects.length === 1 ? objects[0] : undefined
  return (
    <Confirm
      title={one ? t('vms.delete_title', { name: one.name }) : t('vms.delete_title_many', { count: objects.length })}
      text={t('action.vm.delete_lost')}
      names={objects.map((vm) => vm.name)}
      typed
      danger
      button={t('action.vm.delete')}
      onClose={onClose}
      onConfirm={async () => {
        onClose()
        await perform(action, objects)
      }}
    >
      {one ? <DisksOf vm={one.id!} /> : null}
      <ShowAsCommand operation="vm_delete" params={{ vm: objects[0].name }} />
    </Confirm>
  )
}
