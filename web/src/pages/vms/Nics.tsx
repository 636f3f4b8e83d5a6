// SPDX-License-Identifier: Apache-2.0
// The network cards of a virtual machine.
import { Button, Toolbar, ToolbarContent, ToolbarItem } from '@patternfly/react-core'
import { ActionsColumn, Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table'
import { useState } from 'react'
import { call } from '@/api/client'
import { schemas } from '@/api/description'
import { useCan } from '@/api/session'
import type { Vm, VmNic } from '@/api/types'
import { fieldLabel, t } from '@/i18n'
import { Confirm } from '@/ui/Confirm'
import { Empty } from '@/ui/Empty'
import { Field } from '@/ui/Field'
import { Section } from '@/ui/Properties'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { ItemDialog } from './ItemDialog'
import { lockReason } from './Settings'
import { fieldValue } from './value'

const FIELDS = Object.keys(schemas.VmNic.fields)

function RemoveNic({ vm, index, onClose }: { vm: Vm; index: number; onClose: () => void }) {
  const [revision] = useState(vm.revision)
  const nics = (vm.nics ?? []).filter((_nic, i) => i !== index)
  return (
    <Confirm
      title={t('vms.nic_remove')}
      text={t('vms.nic_remove_text', { mac: vm.nics?.[index]?.mac ?? '' })}
      names={[t('vms.nic', { number: index + 1 })]}
      button={t('vms.nic_remove')}
      onClose={onClose}
      onConfirm={async () => {
        await call('vm_change', { params: { vm: vm.id! }, body: { nics }, ifMatch: revision })
        onClose()
      }}
    >
      <ShowAsCommand operation="vm_change" params={{ vm: vm.name }} body={{ nics }} />
    </Confirm>
  )
}

function EditNic({ vm, index, onClose }: { vm: Vm; index: number; onClose: () => void }) {
  const nics = vm.nics ?? []
  const old = nics[index]
  return (
    <ItemDialog
      vm={vm}
      title={t(old ? 'vms.nic_edit' : 'vms.nic_add')}
      button={t(old ? 'vms.save' : 'vms.add')}
      list="nics"
      index={index}
      schema="VmNic"
      initial={{ ...old }}
      items={(item) => (old ? nics.map((one, i) => (i === index ? item : one)) : [...nics, item])}
      onClose={onClose}
    >
      {(form) => FIELDS.map((path) => <Field key={path} form={form} path={path} hide={path === 'model' && vm.machine === 'microvm' ? ['e1000'] : []} help={path === 'mac' ? t('vms.nic_mac_help') : undefined} />)}
    </ItemDialog>
  )
}

export function Nics({ vm }: { vm: Vm }) {
  const [dialog, setDialog] = useState<{ kind: 'edit' | 'remove'; index: number }>()
  const may = useCan()('vm_change')
  const reason = lockReason(vm, ['nics'])
  const nics = vm.nics ?? []
  const close = () => setDialog(undefined)
  const locked = { isAriaDisabled: !!reason, tooltipProps: reason ? { content: reason } : undefined }
  return (
    <Section>
      {may ? (
        <Toolbar>
          <ToolbarContent>
            <ToolbarItem>
              <Button isAriaDisabled={!!reason} onClick={() => setDialog({ kind: 'edit', index: nics.length })}>
                {t('vms.nic_add')}
              </Button>
            </ToolbarItem>
            {reason ? (
              <ToolbarItem alignSelf="center">
                <span className="tarn-dim">{reason}</span>
              </ToolbarItem>
            ) : null}
          </ToolbarContent>
        </Toolbar>
      ) : null}
      {nics.length ? (
        <Table aria-label={fieldLabel('Vm', 'nics')} variant="compact">
          <Thead>
            <Tr>
              <Th>{t('vms.nic_number')}</Th>
              {FIELDS.map((name) => (
                <Th key={name}>{fieldLabel('VmNic', name)}</Th>
              ))}
              {may ? <Th screenReaderText={t('ui.actions')} /> : null}
            </Tr>
          </Thead>
          <Tbody>
            {nics.map((nic, index) => (
              <Tr key={nic.mac || index}>
                <Td dataLabel={t('vms.nic_number')}>{index + 1}</Td>
                {FIELDS.map((name) => (
                  <Td key={name} dataLabel={fieldLabel('VmNic', name)}>
                    {name === 'mac' ? <code>{nic.mac}</code> : fieldValue(schemas.VmNic.fields[name], nic[name as keyof VmNic])}
                  </Td>
                ))}
                {may ? (
                  <Td isActionCell>
                    <ActionsColumn
                      items={[
                        { title: t('vms.edit'), ...locked, onClick: () => setDialog({ kind: 'edit', index }) },
                        { title: t('vms.nic_remove'), ...locked, onClick: () => setDialog({ kind: 'remove', index }) },
                      ]}
                    />
                  </Td>
                ) : null}
              </Tr>
            ))}
          </Tbody>
        </Table>
      ) : (
        <Empty small title={t('vms.no_nics')} />
      )}
      {dialog?.kind === 'edit' ? <EditNic vm={vm} index={dialog.index} onClose={close} /> : null}
      {dialog?.kind === 'remove' && nics[dialog.index] ? <RemoveNic vm={vm} index={dialog.index} onClose={close} /> : null}
    </Section>
  )
}
