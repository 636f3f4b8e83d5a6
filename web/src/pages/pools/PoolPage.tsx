// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import { useState } from 'react'
import { Link, useParams } from 'react-router-dom'
import { can } from '@/api/session'
import type { Pool } from '@/api/types'
import { enumLabel, fieldLabel, kindLabel, said, t } from '@/i18n'
import { percent, rate, size } from '@/i18n/format'
import { useObject } from '@/live/hooks'
import { eq } from '@/live/match'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Empty, Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { ObjectTable } from '@/ui/ObjectTable'
import { OperationDialog } from '@/ui/OperationDialog'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { EventsOf, JobsOf, VmsOf } from '@/ui/related'
import { Dash, RefLink, Size, StateLabel, Tags, Time, Yes } from '@/ui/text'
import { RuleFields } from './RuleFields'

/** How its servers see each other; only in a clustered pool. */
function Cluster({ pool }: { pool: Pool }) {
  const label = (name: string) => fieldLabel('PoolCluster', name)
  const cluster = pool.cluster
  if (!pool.clustered) return null
  return (
    <Section title={fieldLabel('Pool', 'cluster')}>
      <Properties
        columns={2}
        rows={[
          [label('proof'), enumLabel('FailoverProof', cluster?.proof ?? 'none')],
          [label('quorate'), <Yes key="q" value={cluster?.quorate} />],
          [label('members'), cluster?.members?.length ? cluster.members.map((id, index) => [index ? ', ' : '', <RefLink key={id} kind="server" id={id} />]) : <Dash key="m" />],
          [label('rings'), cluster?.rings],
          [label('nodes'), cluster?.nodes?.length ? cluster.nodes.map((node) => <div key={node.node}><RefLink kind="server" id={node.server} /> <span className="tarn-dim">{node.addresses?.join(', ')}</span></div>) : undefined],
          [label('reason'), said(cluster?.reason) || undefined],
        ]}
      />
    </Section>
  )
}

function Overview({ pool }: { pool: Pool }) {
  const label = (name: string) => fieldLabel('Pool', name)
  const migration = pool.migration
  const move = (name: string) => fieldLabel('PoolMigration', name)
  return (
    <>
      <Section title={t('ui.properties')}>
        <Properties
          columns={2}
          rows={[
            [label('description'), pool.description],
            [label('tags'), <Tags key="g" tags={pool.tags} />],
            [label('created'), <Time key="c" value={pool.created} />],
          ]}
        />
      </Section>
      <Section title={t('pools.placement')}>
        <Properties
          columns={2}
          rows={[
            [label('placement'), enumLabel('PlacementPolicy', pool.placement)],
            [label('cpu_overcommit'), percent((pool.cpu_overcommit ?? 100) / 100)],
            [label('memory_overcommit'), percent((pool.memory_overcommit ?? 100) / 100)],
            [label('memory_reserve'), size(pool.memory_reserve)],
            [label('cpu_baseline'), pool.cpu_baseline === 'auto' ? t('pools.automatic') : pool.cpu_baseline],
            [label('cpu_model'), pool.cpu_model],
          ]}
        />
      </Section>
      <Section title={t('pools.availability')}>
        <Properties
          columns={2}
          rows={[
            [label('clustered'), <Yes key="c" value={pool.clustered} />],
            [label('failover'), enumLabel('FailoverPolicy', pool.failover)],
            [label('fencing'), enumLabel('FencingPolicy', pool.fencing)],
            [label('admission_failures'), pool.admission_failures],
          ]}
        />
      </Section>
      <Cluster pool={pool} />
      <Section title={t('pools.migration')}>
        <Properties
          columns={2}
          rows={[
            [move('bandwidth'), migration?.bandwidth ? rate(migration.bandwidth) : t('pools.unlimited')],
            [move('parallel'), migration?.parallel],
            [move('auto_converge'), <Yes key="a" value={migration?.auto_converge} />],
            [move('post_copy'), <Yes key="p" value={migration?.post_copy} />],
          ]}
        />
      </Section>
    </>
  )
}

function Servers({ pool }: { pool: Pool }) {
  return (
    <Section>
      <ObjectTable
        kind="server"
        filter={[eq('pool', pool.id!)]}
        empty={<Empty small title={t('pools.no_servers')} text={t('pools.no_servers_text')} />}
        columns={[
          { key: 'name', sort: 'name', width: 30, render: (one) => <Link to={`/servers/${one.id}`}>{one.name}</Link> },
          { key: 'state', choose: true, render: (one) => <StateLabel compact schema="ServerState" state={one.state} reason={one.state_reason} /> },
          { key: 'maintenance', render: (one) => enumLabel('MaintenanceState', one.maintenance) },
          { key: 'hardware.cpus', label: fieldLabel('Hardware', 'cpus') },
          { key: 'hardware.memory', label: fieldLabel('Hardware', 'memory'), render: (one) => <Size value={one.hardware?.memory || undefined} /> },
        ]}
      />
    </Section>
  )
}

function Rules({ pool }: { pool: Pool }) {
  const [creating, setCreating] = useState(false)
  const tools = can('rule_create') ? <Button onClick={() => setCreating(true)}>{t('pools.create_rule')}</Button> : undefined
  return (
    <Section>
      <ObjectTable
        kind="rule"
        filter={[eq('pool', pool.id!)]}
        tools={tools}
        empty={<Empty small title={t('pools.no_rules')} text={t('pools.no_rules_text')} actions={tools} />}
        columns={[
          { key: 'name', sort: 'name', width: 20 },
          { key: 'type', choose: true, render: (one) => enumLabel('RuleType', one.type) },
          { key: 'must', render: (one) => t(one.must ? 'pools.must' : 'pools.should') },
          { key: 'vms', render: (one) => [...(one.vms ?? [])].map((id, index) => [index ? ', ' : '', <RefLink key={id} kind="vm" id={id} />]) },
          { key: 'tag', render: (one) => one.tag || <Dash /> },
          { key: 'servers', wide: true, render: (one) => (one.servers?.length ? one.servers.map((id, index) => [index ? ', ' : '', <RefLink key={id} kind="server" id={id} />]) : <Dash />) },
        ]}
      />
      {creating ? (
        <OperationDialog operation="rule_create" title={t('pools.create_rule')} button={t('ui.create')} initial={{ pool: pool.id, type: 'apart' }} onClose={() => setCreating(false)}>
          {(form) => <RuleFields form={form} pool={pool.id} />}
        </OperationDialog>
      ) : null}
    </Section>
  )
}

export function Component() {
  const { id } = useParams()
  const { object: pool, gone, error } = useObject('pool', id)
  if (gone) return <NotFound />
  if (!pool) return error ? <ErrorAlert error={error} /> : <Loading />
  return (
    <Page
      title={pool.name}
      crumbs={[[kindLabel('pool', true), '/pools']]}
      actions={<ActionBar kind="pool" object={pool} />}
      base={`/pools/${id}`}
      tabs={[
        { id: '', title: t('ui.overview'), content: () => <Overview pool={pool} /> },
        { id: 'servers', title: kindLabel('server', true), content: () => <Servers pool={pool} /> },
        { id: 'vms', title: kindLabel('vm', true), content: () => <VmsOf filter={[eq('pool', id!)]} /> },
        { id: 'rules', title: kindLabel('rule', true), content: () => <Rules pool={pool} /> },
        { id: 'jobs', title: kindLabel('job', true), content: () => <JobsOf id={id!} /> },
        { id: 'events', title: kindLabel('event', true), content: () => <EventsOf id={id!} /> },
      ]}
    />
  )
}
