// SPDX-License-Identifier: Apache-2.0
import { useParams } from 'react-router-dom'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { RefLink, Size, StateLabel, Tags, Time } from '@/ui/text'
import type { Vm } from '@/api/types'
import { Console } from '@/console/Console'
import { useVm } from './useVm'

function Overview({ vm }: { vm: Vm }) {
  const label = (name: string) => fieldLabel('Vm', name)
  return (
    <Section title={t('ui.properties')}>
      <Properties
        columns={2}
        rows={[
          [label('cpus'), vm.cpus],
          [label('memory'), <Size key="m" value={vm.memory} />],
          [label('server'), <RefLink key="s" kind="server" id={vm.server} />],
          [label('template'), <RefLink key="t" kind="template" id={vm.template} />],
          [label('tags'), <Tags key="g" tags={vm.tags} />],
          [label('created'), <Time key="c" value={vm.created} />],
          [label('description'), vm.description],
        ]}
      />
    </Section>
  )
}

export function Component() {
  const { id } = useParams()
  const { object: vm, gone, error } = useVm(id)
  if (gone) return <NotFound />
  if (!vm) return error ? <ErrorAlert error={error} /> : <Loading />
  return (
    <Page
      title={vm.name}
      crumbs={[[kindLabel('vm', true), '/vms']]}
      state={<StateLabel schema="VmState" state={vm.state} reason={vm.state_reason} />}
      actions={<ActionBar kind="vm" object={vm} />}
      base={`/vms/${id}`}
      tabs={[
        { id: '', title: t('ui.overview'), content: () => <Overview vm={vm} /> },
        ...(vm.display === 'vnc' ? [{ id: 'display', title: t('console.vnc'), content: () => <Console key="vnc" vm={vm} type="vnc" /> }] : []),
        { id: 'serial', title: t('console.serial'), content: () => <Console key="serial" vm={vm} type="serial" /> },
      ]}
    />
  )
}
