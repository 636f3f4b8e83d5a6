// SPDX-License-Identifier: Apache-2.0
import { Alert } from '@patternfly/react-core'
import { call } from '@/api/client'
import type { Vm } from '@/api/types'
import { enumLabel, fieldLabel, said, t } from '@/i18n'
import { size } from '@/i18n/format'
import { useList } from '@/live/hooks'
import { eq } from '@/live/match'
import { MetricCharts } from '@/ui/MetricCharts'
import { Properties, Section } from '@/ui/Properties'
import { Reason } from '@/ui/Reason'
import { StateIcon } from '@/ui/StateIcon'
import { SimpleTable } from '@/ui/SimpleTable'
import { Dash, RefLink, Size, Tags, Time } from '@/ui/text'
import { haText } from '@/ui/ha'
import { isCd } from './model'
import { Unguarded } from './Unguarded'

const ALIVE = new Set(['running', 'suspended', 'stopping', 'migrating'])
const TROUBLE: Record<string, 'danger' | 'warning'> = { crashed: 'danger', unknown: 'warning' }

/** Why it is where it is: what the newest job that placed it has written down. */
function Placed({ vm }: { vm: Vm }) {
  const { items } = useList('job', { filter: [eq('object.id', vm.id!)], limit: 20 })
  const job = items.find((one) => one.placement?.length)
  if (!job) return null
  return (
    <Section title={t('vms.placed')}>
      <SimpleTable
        label={t('vms.placed')}
        head={[fieldLabel('Vm', 'server'), t('vms.placed_how'), fieldLabel('PlacementChoice', 'reason')]}
        rows={job.placement!.map((choice) => [
          <RefLink key="s" kind="server" id={choice.server} name={choice.name} />,
          choice.chosen ? <span key="c" className="tarn-state"><StateIcon state="ready" /> {t('vms.placed_chosen')}</span> : choice.ok ? t('vms.placed_could') : t('vms.placed_could_not'),
          said(choice.reason) || <Dash />,
        ])}
      />
    </Section>
  )
}

/** CD drives are none. */
const disksOf = (vm: Vm) => (vm.disks ?? []).filter((disk) => !isCd(disk)).length

export function Overview({ vm }: { vm: Vm }) {
  const label = (name: string) => fieldLabel('Vm', name)
  const trouble = TROUBLE[vm.state]
  return (
    <>
      <Unguarded vm={vm} />
      {trouble ? <Alert isInline variant={trouble} title={enumLabel('VmState', vm.state)}><Reason text={vm.state_reason} /></Alert> : null}
      <Section title={t('ui.properties')}>
        <Properties
          columns={2}
          rows={[
            [label('state_reason'), vm.state_reason && !trouble ? said(vm.state_reason) : undefined],
            [label('server'), <RefLink key="s" kind="server" id={vm.server} />],
            [label('target'), vm.target ? <RefLink key="t" kind="server" id={vm.target} /> : undefined],
            [label('pool'), vm.pool ? <RefLink key="p" kind="pool" id={vm.pool} /> : undefined],
            [label('template'), vm.template ? <RefLink key="t" kind="template" id={vm.template} /> : undefined],
            [label('cpus'), vm.sockets && vm.sockets > 1 ? t('vms.cpus_in_sockets', { cpus: vm.cpus ?? 1, sockets: vm.sockets }) : vm.cpus],
            [label('memory'), <Size key="m" value={vm.memory} />],
            [label('disks'), disksOf(vm) || t('vms.none_at_all')],
            [label('nics'), vm.nics?.length || t('vms.none_at_all')],
            [label('machine'), `${enumLabel('Machine', vm.machine)}, ${enumLabel('Firmware', vm.firmware)}`],
            [label('repository'), <RefLink key="r" kind="repository" id={vm.repository} />],
            [label('restart_policy'), enumLabel('RestartPolicy', vm.restart_policy) + (vm.restarts ? ` (${t('vms.restarts_count', { count: vm.restarts })})` : '')],
            [label('ha'), haText(vm)],
            [label('cpu_model'), vm.cpu_model || undefined],
            [label('hypervisor'), vm.hypervisor || undefined],
            [label('started'), vm.started ? <Time key="st" value={vm.started} /> : undefined],
            [label('created'), <Time key="c" value={vm.created} />],
            [label('tags'), <Tags key="g" tags={vm.tags} />],
            [label('description'), vm.description ? <span key="d" className="tarn-text">{vm.description}</span> : undefined],
          ]}
        />
      </Section>
      {ALIVE.has(vm.state) ? <MetricCharts id={vm.id!} cpus={vm.cpus} memory={vm.memory} ask={(range, signal) => call('vm_metrics', { params: { vm: vm.id! }, query: { range }, signal })} /> : null}
      <Placed vm={vm} />
    </>
  )
}

/** One line that says the most. */
export function summary(vm: Vm) {
  return [t('vms.cpus_count', { count: vm.cpus ?? 1 }), size(vm.memory), disksOf(vm) ? t('vms.disks_count', { count: disksOf(vm) }) : t('vms.no_disks_short')].join(' · ')
}
