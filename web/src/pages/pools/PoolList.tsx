// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import { useState, type ReactNode } from 'react'
import { Link } from 'react-router-dom'
import { call } from '@/api/client'
import { can } from '@/api/session'
import type { Pool, StateCount, Summary } from '@/api/types'
import { enumLabel, kindLabel, t } from '@/i18n'
import { number, size } from '@/i18n/format'
import { useList, usePolled } from '@/live/hooks'
import { Empty } from '@/ui/Empty'
import { ObjectTable } from '@/ui/ObjectTable'
import { OperationDialog } from '@/ui/OperationDialog'
import { Page } from '@/ui/Page'
import { Dash, Yes } from '@/ui/text'
import { PoolFields } from './fields'

const EVERY_MS = 15000
/** Each is a request of its own. */
const MOST = 20

const count = (states: StateCount[]) => states.reduce((sum, one) => sum + one.count, 0)

function servers(sum: Summary) {
  const all = count(sum.servers)
  const offline = count(sum.servers.filter((one) => one.state !== 'online'))
  return offline ? t('pools.members_offline', { count: all, offline }) : all
}

/** What is in the pools, and how much of it is used. */
function useSums() {
  const { items } = useList('pool', { limit: MOST })
  const ids = items.map((pool) => pool.id!)
  const { value } = usePolled((signal) => Promise.all(ids.map(async (pool) => [pool, await call('summary', { query: { pool }, signal })] as const)), EVERY_MS, ids)
  return new Map(value)
}

export function Component() {
  const sums = useSums()
  const show = (what: (sum: Summary) => ReactNode) => (pool: Pool) => {
    const sum = sums.get(pool.id!)
    return sum ? what(sum) : <Dash />
  }
  const used = (value: string, all: string, any: number) => (any ? t('pools.of', { used: value, all }) : <Dash />)
  const [creating, setCreating] = useState(false)
  const tools = can('pool_create') ? <Button onClick={() => setCreating(true)}>{t('pools.create')}</Button> : undefined
  return (
    <Page title={kindLabel('pool', true)}>
      <ObjectTable
        kind="pool"
        tools={tools}
        empty={<Empty title={t('pools.none')} text={t('pools.none_text')} actions={tools} />}
        columns={[
          { key: 'name', sort: 'name', width: 20, render: (one) => <Link to={`/pools/${one.id}`}>{one.name}</Link> },
          { key: 'servers', label: t('pools.members'), render: show(servers) },
          { key: 'vms', label: t('pools.vms'), render: show((sum) => count(sum.vms)) },
          { key: 'cpus', label: t('pools.cpus'), render: show(({ capacity: c }) => used(number(c?.cpus_used ?? 0, 2), number(c?.cpus ?? 0), c?.cpus ?? 0)) },
          { key: 'memory', label: t('pools.memory'), render: show(({ capacity: c }) => used(size(c?.memory_allocated ?? 0), size(c?.memory ?? 0), c?.memory ?? 0)) },
          { key: 'storage', wide: true, label: t('pools.storage'), render: show(({ capacity: c }) => used(size((c?.storage ?? 0) - (c?.storage_free ?? 0)), size(c?.storage ?? 0), c?.storage ?? 0)) },
          { key: 'clustered', render: (one) => <Yes value={one.clustered} /> },
          { key: 'placement', choose: true, wide: true, render: (one) => enumLabel('PlacementPolicy', one.placement) },
          { key: 'cpu_model', wide: true, render: (one) => one.cpu_model || <Dash /> },
        ]}
      />
      {creating ? (
        <OperationDialog wide operation="pool_create" title={t('pools.create')} button={t('ui.create')} onClose={() => setCreating(false)}>
          {(form) => <PoolFields form={form} />}
        </OperationDialog>
      ) : null}
    </Page>
  )
}
