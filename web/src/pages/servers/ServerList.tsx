// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import { lazy, Suspense, useState } from 'react'
import { Link } from 'react-router-dom'
import { can } from '@/api/session'
import type { Server } from '@/api/types'
import { enumLabel, fieldLabel, kindLabel, t } from '@/i18n'
import { Empty } from '@/ui/Empty'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { Dash, RefLink, Size, StateLabel } from '@/ui/text'

const Join = lazy(() => import('./Join'))

export function accelerators(server: Server) {
  return (server.hypervisors ?? []).filter((one) => one.usable).map((one) => (one.accelerator ? enumLabel('Accelerator', one.accelerator) : one.driver))
}

export function Component() {
  const [joining, setJoining] = useState(false)
  const tools = can('server_token_create') ? <Button onClick={() => setJoining(true)}>{t('servers.join')}</Button> : undefined
  return (
    <Page title={kindLabel('server', true)}>
      <ObjectTable
        kind="server"
        tools={tools}
        empty={<Empty title={t('servers.none')} text={t('servers.none_text')} actions={tools} />}
        columns={[
          { key: 'name', sort: 'name', width: 20, render: (one) => <Link to={`/servers/${one.id}`}>{one.name}</Link> },
          { key: 'state', sort: 'state', choose: true, render: (one) => <StateLabel compact schema="ServerState" state={one.state} reason={one.state_reason} /> },
          { key: 'maintenance', choose: true, wide: true, render: (one) => enumLabel('MaintenanceState', one.maintenance) },
          { key: 'pool', render: (one) => <RefLink kind="pool" id={one.pool} /> },
          { key: 'hardware.cpus', sort: 'hardware.cpus', label: fieldLabel('Hardware', 'cpus') },
          { key: 'hardware.memory', sort: 'hardware.memory', label: fieldLabel('Hardware', 'memory'), render: (one) => <Size value={one.hardware?.memory || undefined} /> },
          { key: 'hypervisors', label: fieldLabel('Hypervisor', 'accelerator'), wide: true, render: (one) => accelerators(one).join(', ') || <Dash /> },
          { key: 'version', wide: true },
        ]}
      />
      <Suspense fallback={null}>{joining ? <Join onClose={() => setJoining(false)} /> : null}</Suspense>
    </Page>
  )
}
