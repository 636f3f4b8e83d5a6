// SPDX-License-Identifier: Apache-2.0
import { useParams } from 'react-router-dom'
import { call } from '@/api/client'
import type { Server } from '@/api/types'
import { enumLabel, fieldLabel, kindLabel, said, t } from '@/i18n'
import { useObject } from '@/live/hooks'
import { eq } from '@/live/match'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { MetricCharts } from '@/ui/MetricCharts'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { EventsOf, JobsOf, VmsOf } from '@/ui/related'
import { SimpleTable } from '@/ui/SimpleTable'
import { Dash, RefLink, Size, StateLabel, Tags, Time, Yes } from '@/ui/text'
import { HardwareTab } from './Hardware'

/** What the others of its pool and it think of each other; only in a clustered pool. */
function Cluster({ server }: { server: Server }) {
  const label = (name: string) => fieldLabel('ServerCluster', name)
  const cluster = server.cluster
  const away = server.state === 'offline'
  if (!cluster?.pool) return null
  return (
    <Section title={fieldLabel('Server', 'cluster')}>
      <Properties
        columns={2}
        rows={[
          // What one that is away saw last is not so now.
          [label('quorate'), away ? undefined : <Yes key="q" value={cluster.quorate} />],
          [label('armed'), <Yes key="a" value={cluster.armed} />],
          [label('members'), away ? undefined : cluster.members?.length ? cluster.members.map((id, index) => [index ? ', ' : '', <RefLink key={id} kind="server" id={id} />]) : <Dash key="m" />],
          [label('reason'), said(cluster.reason) || (away ? t('servers.away') : undefined)],
          [label('gone'), cluster.gone ? <Yes key="g" value /> : undefined],
          [label('fenced'), cluster.fenced ? <Yes key="f" value /> : undefined],
        ]}
      />
    </Section>
  )
}

function Overview({ server }: { server: Server }) {
  const label = (name: string) => fieldLabel('Server', name)
  const hardware = server.hardware
  return (
    <>
      {server.state === 'online' ? <MetricCharts id={server.id!} cpus={hardware?.cpus} memory={hardware?.memory} ask={(range, signal) => call('server_metrics', { params: { server: server.id! }, query: { range }, signal })} /> : null}
      <Section title={t('ui.properties')}>
        <Properties
          columns={2}
          rows={[
            [label('pool'), <RefLink key="p" kind="pool" id={server.pool} />],
            [label('maintenance'), enumLabel('MaintenanceState', server.maintenance)],
            [label('power'), server.fence?.agent ? (server.power ? t(`servers.power_${server.power}`) : t('servers.power_unknown')) : undefined],
            [label('version'), server.version],
            [label('connected_from'), server.connected_from || undefined],
            [label('fence'), server.fence?.agent ? (server.fence.address ? t('servers.fence_at', { agent: server.fence.agent, address: server.fence.address }) : server.fence.agent) : undefined],
            [fieldLabel('Hardware', 'cpu_model'), hardware?.cpu_model],
            [fieldLabel('Hardware', 'cpus'), hardware?.cpus],
            [fieldLabel('Hardware', 'memory'), <Size key="m" value={hardware?.memory || undefined} />],
            [fieldLabel('Hardware', 'os'), hardware?.os],
            [fieldLabel('Hardware', 'kernel'), hardware?.kernel],
            [label('tags'), <Tags key="g" tags={server.tags} />],
            [label('created'), <Time key="c" value={server.created} />],
            [label('description'), server.description],
            [label('unknown_guests'), server.unknown_guests?.length ? t('servers.unknown', { names: server.unknown_guests.join(', ') }) : undefined],
          ]}
        />
      </Section>
      <Cluster server={server} />
      <Section title={fieldLabel('Server', 'hypervisors')}>
        <SimpleTable
          label={fieldLabel('Server', 'hypervisors')}
          head={[fieldLabel('Hypervisor', 'driver'), fieldLabel('Hypervisor', 'version'), fieldLabel('Hypervisor', 'accelerator'), fieldLabel('Hypervisor', 'usable'), fieldLabel('Hypervisor', 'reason')]}
          rows={(server.hypervisors ?? []).map((one) => [one.driver, one.version || <Dash />, one.accelerator ? enumLabel('Accelerator', one.accelerator) : <Dash />, t(one.usable ? 'ui.yes' : 'ui.no'), said(one.reason) || <Dash />])}
          empty={<span className="tarn-dim">{t('servers.not_told')}</span>}
        />
      </Section>
      <Section title={fieldLabel('Server', 'addresses')}>
        <SimpleTable
          label={fieldLabel('Server', 'addresses')}
          head={[fieldLabel('ServerAddress', 'address'), fieldLabel('ServerAddress', 'roles')]}
          rows={(server.addresses ?? []).map((one) => [<code key="a">{one.address}</code>, (one.roles ?? []).map((role) => enumLabel('NetworkRole', role)).join(', ') || <Dash />])}
          empty={<span className="tarn-dim">{t('servers.no_addresses')}</span>}
        />
      </Section>
    </>
  )
}

export function Component() {
  const { id } = useParams()
  const { object: server, gone, error } = useObject('server', id)
  if (gone) return <NotFound />
  if (!server) return error ? <ErrorAlert error={error} /> : <Loading />
  const inMaintenance = server.maintenance && server.maintenance !== 'off'
  return (
    <Page
      title={server.name}
      crumbs={[[kindLabel('server', true), '/servers']]}
      state={
        <>
          <StateLabel schema="ServerState" state={server.state} reason={server.state_reason} />
          {inMaintenance ? <StateLabel schema="MaintenanceState" state={server.maintenance} /> : null}
        </>
      }
      subtitle={said(server.state_reason) || undefined}
      actions={<ActionBar kind="server" object={server} />}
      base={`/servers/${id}`}
      tabs={[
        { id: '', title: t('ui.overview'), content: () => <Overview server={server} /> },
        { id: 'vms', title: kindLabel('vm', true), content: () => <VmsOf filter={[eq('server', id!)]} withServer={false} /> },
        { id: 'hardware', title: fieldLabel('Server', 'hardware'), content: () => <HardwareTab server={server} /> },
        { id: 'jobs', title: kindLabel('job', true), content: () => <JobsOf id={id!} /> },
        { id: 'events', title: kindLabel('event', true), content: () => <EventsOf id={id!} /> },
      ]}
    />
  )
}
