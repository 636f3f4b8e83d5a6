// SPDX-License-Identifier: Apache-2.0
import { Link } from 'react-router-dom'
import { kindLabel } from '@/i18n'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { RefLink, Size, StateLabel } from '@/ui/text'

export function Component() {
  return (
    <Page title={kindLabel('vm', true)}>
      <ObjectTable
        kind="vm"
        columns={[
          { key: 'name', sort: 'name', width: 25, render: (vm) => <Link to={`/vms/${vm.id}`}>{vm.name}</Link> },
          { key: 'state', sort: 'state', choose: true, render: (vm) => <StateLabel compact schema="VmState" state={vm.state} reason={vm.state_reason} /> },
          { key: 'cpus', sort: 'cpus' },
          { key: 'memory', sort: 'memory', render: (vm) => <Size value={vm.memory} /> },
          { key: 'server', render: (vm) => <RefLink kind="server" id={vm.server} /> },
          { key: 'template', wide: true, render: (vm) => <RefLink kind="template" id={vm.template} /> },
        ]}
      />
    </Page>
  )
}
