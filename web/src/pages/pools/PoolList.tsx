// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import { useState } from 'react'
import { Link } from 'react-router-dom'
import { can } from '@/api/session'
import { enumLabel, kindLabel, t } from '@/i18n'
import { percent } from '@/i18n/format'
import { Empty } from '@/ui/Empty'
import { ObjectTable } from '@/ui/ObjectTable'
import { OperationDialog } from '@/ui/OperationDialog'
import { Page } from '@/ui/Page'
import { Dash, Yes } from '@/ui/text'
import { PoolFields } from './fields'

export function Component() {
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
          { key: 'clustered', render: (one) => <Yes value={one.clustered} /> },
          { key: 'placement', choose: true, render: (one) => enumLabel('PlacementPolicy', one.placement) },
          { key: 'failover', wide: true, render: (one) => enumLabel('FailoverPolicy', one.failover) },
          { key: 'cpu_model', wide: true, render: (one) => one.cpu_model || <Dash /> },
          { key: 'cpu_overcommit', render: (one) => percent((one.cpu_overcommit ?? 100) / 100) },
          { key: 'memory_overcommit', render: (one) => percent((one.memory_overcommit ?? 100) / 100) },
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
