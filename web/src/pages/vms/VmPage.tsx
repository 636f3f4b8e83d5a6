// SPDX-License-Identifier: Apache-2.0
import { useParams } from 'react-router-dom'
import { useCan } from '@/api/session'
import { Console } from '@/console/Console'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Page } from '@/ui/Page'
import { EventsOf, JobsOf } from '@/ui/related'
import { StateLabel } from '@/ui/text'
import { Disks } from './Disks'
import { hasDisplay } from './model'
import { Nics } from './Nics'
import { Overview, summary } from './Overview'
import { Settings } from './Settings'
import { useVm } from './useVm'
import './vms.css'

export function Component() {
  const { id } = useParams()
  const { object: vm, gone, error } = useVm(id)
  const can = useCan()
  if (gone) return <NotFound />
  if (!vm) return error ? <ErrorAlert error={error} /> : <Loading />
  const consoles = can('vm_console')
  return (
    <Page
      title={vm.name}
      crumbs={[[kindLabel('vm', true), '/vms']]}
      state={<StateLabel schema="VmState" state={vm.state} reason={vm.state_reason} />}
      subtitle={summary(vm)}
      actions={<ActionBar kind="vm" object={vm} />}
      base={`/vms/${id}`}
      tabs={[
        { id: '', title: t('ui.overview'), content: () => <Overview vm={vm} /> },
        ...(consoles && hasDisplay(vm) ? [{ id: 'display', title: t('console.vnc'), content: () => <Console key={`${vm.id}/vnc`} vm={vm} type="vnc" /> }] : []),
        ...(consoles ? [{ id: 'serial', title: t('console.serial'), content: () => <Console key={`${vm.id}/serial`} vm={vm} type="serial" /> }] : []),
        { id: 'settings', title: t('vms.settings'), content: () => <Settings key={vm.id} vm={vm} /> },
        { id: 'disks', title: fieldLabel('Vm', 'disks'), content: () => <Disks vm={vm} /> },
        { id: 'network', title: fieldLabel('Vm', 'nics'), content: () => <Nics vm={vm} /> },
        { id: 'jobs', title: kindLabel('job', true), content: () => <JobsOf id={vm.id!} /> },
        { id: 'events', title: kindLabel('event', true), content: () => <EventsOf id={vm.id!} /> },
      ]}
    />
  )
}
