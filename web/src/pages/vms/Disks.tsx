// SPDX-License-Identifier: Apache-2.0
// The disks and CD drives of a virtual machine.
import { Button, Toolbar, ToolbarContent, ToolbarItem } from '@patternfly/react-core'
import { ActionsColumn, Table, Tbody, Td, Th, Thead, Tr, type IAction } from '@patternfly/react-table'
import { lazy, Suspense, useState, type ReactNode } from 'react'
import { Link } from 'react-router-dom'
import { useCan } from '@/api/session'
import type { Disk, Vm, VmDisk } from '@/api/types'
import { enumLabel, fieldLabel, t } from '@/i18n'
import { useList } from '@/live/hooks'
import { eq } from '@/live/match'
import { Empty } from '@/ui/Empty'
import { Section } from '@/ui/Properties'
import { RefLink, Size, StateLabel, Yes } from '@/ui/text'
import { isCd } from './model'
import { lockReason } from './Settings'

const AddDisk = lazy(() => import('./AddDisk'))
const AttachDisk = lazy(() => import('./AttachDisk'))
const EditDisk = lazy(() => import('./EditDisk'))
const RemoveDisk = lazy(() => import('./RemoveDisk'))
const ChangeCd = lazy(() => import('./ChangeCd'))

export interface DiskDialog {
  kind: 'add' | 'attach' | 'drive' | 'edit' | 'remove' | 'cd'
  /** Of the disk that it is about. */
  index?: number
}

function Dialog({ vm, dialog, disks, onClose }: { vm: Vm; dialog: DiskDialog; disks: Map<string, Disk>; onClose: () => void }) {
  if (dialog.kind === 'add') return <AddDisk vm={vm} onClose={onClose} />
  if (dialog.kind === 'attach') return <AttachDisk vm={vm} onClose={onClose} />
  if (dialog.kind === 'drive') return <EditDisk vm={vm} index={(vm.disks ?? []).length} drive onClose={onClose} />
  const index = dialog.index ?? 0
  const disk = (vm.disks ?? [])[index]
  if (!disk) return null
  if (dialog.kind === 'edit') return <EditDisk vm={vm} index={index} drive={isCd(disk)} onClose={onClose} />
  if (dialog.kind === 'cd') return <ChangeCd vm={vm} index={index} onClose={onClose} />
  return <RemoveDisk vm={vm} index={index} disk={disk.disk ? disks.get(disk.disk) : undefined} onClose={onClose} />
}

export function Disks({ vm }: { vm: Vm }) {
  const page = useList('disk', { filter: [eq('vm', vm.id!)], limit: 100 })
  const [dialog, setDialog] = useState<DiskDialog>()
  const can = useCan()
  const known = new Map(page.items.map((disk) => [disk.id!, disk]))
  const label = (name: string) => fieldLabel('Disk', name)
  const reason = lockReason(vm, ['disks'])
  const may = can('vm_change')
  const mayCd = can('vm_cdrom')
  const drives = vm.disks ?? []

  const rowActions = (disk: VmDisk, index: number): IAction[] => [
    ...(isCd(disk) && mayCd ? [{ title: t('vms.cd_change'), onClick: () => setDialog({ kind: 'cd', index }) }] : []),
    ...(may
      ? [
          { title: t('vms.edit'), isAriaDisabled: !!reason, tooltipProps: reason ? { content: reason } : undefined, onClick: () => setDialog({ kind: 'edit', index }) },
          { title: t(isCd(disk) ? 'vms.cd_remove' : 'vms.disk_remove'), isAriaDisabled: !!reason, tooltipProps: reason ? { content: reason } : undefined, onClick: () => setDialog({ kind: 'remove', index }) },
        ]
      : []),
  ]
  const tool = (text: string, kind: 'add' | 'attach' | 'drive', variant: 'primary' | 'secondary'): ReactNode => (
    <ToolbarItem key={kind}>
      <Button variant={variant} isAriaDisabled={!!reason} onClick={() => setDialog({ kind })}>
        {text}
      </Button>
    </ToolbarItem>
  )
  return (
    <Section>
      {may ? (
        <Toolbar>
          <ToolbarContent>
            {can('disk_create') ? tool(t('vms.disk_add'), 'add', 'primary') : null}
            {tool(t('vms.disk_attach'), 'attach', 'secondary')}
            {vm.machine !== 'microvm' ? tool(t('vms.cd_add'), 'drive', 'secondary') : null}
            {reason ? (
              <ToolbarItem alignSelf="center">
                <span className="tarn-dim">{reason}</span>
              </ToolbarItem>
            ) : null}
          </ToolbarContent>
        </Toolbar>
      ) : null}
      {drives.length ? (
        <Table aria-label={fieldLabel('Vm', 'disks')} variant="compact">
          <Thead>
            <Tr>
              <Th width={25}>{label('name')}</Th>
              <Th modifier="nowrap">{label('state')}</Th>
              <Th modifier="nowrap">{label('size')}</Th>
              <Th modifier="nowrap">{label('allocated')}</Th>
              <Th modifier="nowrap">{fieldLabel('VmDisk', 'bus')}</Th>
              <Th modifier="nowrap" className="tarn-wide">{label('repository')}</Th>
              <Th modifier="nowrap" className="tarn-wide">{label('made_with_vm')}</Th>
              {may || mayCd ? <Th screenReaderText={t('ui.actions')} /> : null}
            </Tr>
          </Thead>
          <Tbody>
            {drives.map((drive, index) => {
              const disk = drive.disk ? known.get(drive.disk) : undefined
              const items = rowActions(drive, index)
              return (
                <Tr key={drive.disk || `drive-${index}`}>
                  {isCd(drive) ? (
                    <>
                      <Td colSpan={4} dataLabel={label('name')}>
                        {t('vms.cd_drive')}: {drive.iso ? <RefLink kind="iso" id={drive.iso} /> : <span className="tarn-dim">{t('vms.cd_empty')}</span>}
                      </Td>
                    </>
                  ) : (
                    <>
                      <Td dataLabel={label('name')} modifier="truncate">
                        {disk ? <Link to={`/disks/${disk.id}`}>{disk.name}</Link> : <RefLink kind="disk" id={drive.disk} />}
                      </Td>
                      <Td dataLabel={label('state')}>{disk ? <StateLabel compact schema="ObjectState" state={disk.state} /> : null}</Td>
                      <Td dataLabel={label('size')}>
                        <Size value={disk?.size} />
                      </Td>
                      <Td dataLabel={label('allocated')}>
                        <Size value={disk?.allocated} />
                      </Td>
                    </>
                  )}
                  <Td dataLabel={fieldLabel('VmDisk', 'bus')}>
                    {enumLabel('DiskBus', drive.bus ?? 'virtio-blk')}
                    {drive.read_only ? `, ${fieldLabel('VmDisk', 'read_only')}` : null}
                  </Td>
                  <Td className="tarn-wide" dataLabel={label('repository')}>
                    <RefLink kind="repository" id={disk?.repository} />
                  </Td>
                  <Td className="tarn-wide" dataLabel={label('made_with_vm')}>
                    {isCd(drive) ? null : <Yes value={disk?.made_with_vm} />}
                  </Td>
                  {may || mayCd ? <Td isActionCell>{items.length ? <ActionsColumn items={items} /> : null}</Td> : null}
                </Tr>
              )
            })}
          </Tbody>
        </Table>
      ) : (
        <Empty small title={t('vms.no_disks')} text={vm.direct_boot ? t('vms.no_disks_direct') : t('vms.no_disks_text')} />
      )}
      <Suspense fallback={null}>{dialog ? <Dialog vm={vm} dialog={dialog} disks={known} onClose={() => setDialog(undefined)} /> : null}</Suspense>
    </Section>
  )
}
