// SPDX-License-Identifier: Apache-2.0
import { Link } from 'react-router-dom'
import { can } from '@/api/session'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { Empty } from '@/ui/Empty'
import { LinkButton } from '@/ui/LinkButton'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { Dash, RefLink, Size, StateLabel } from '@/ui/text'
import { diskTotal } from './facts'

export function Component() {
  const tools = can('template_create') ? <LinkButton to="/templates/import">{t('templates.import')}</LinkButton> : undefined
  return (
    <Page title={kindLabel('template', true)}>
      <ObjectTable
        kind="template"
        tools={tools}
        empty={<Empty title={t('templates.none')} text={t('templates.none_text')} actions={tools} />}
        columns={[
          { key: 'name', sort: 'name', width: 25, render: (one) => <Link to={`/templates/${one.id}`}>{one.name}</Link> },
          { key: 'state', choose: true, render: (one) => <StateLabel compact schema="ObjectState" state={one.state} /> },
          { key: 'disks', render: (one) => (one.disks?.length ? <Size value={diskTotal(one)} /> : one.kernel ? t('templates.kernel_only') : <Dash />) },
          { key: 'cpus', sort: 'cpus', wide: true },
          { key: 'memory', sort: 'memory', render: (one) => <Size value={one.memory} /> },
          { key: 'machine', label: fieldLabel('Template', 'machine'), wide: true },
          { key: 'repository', render: (one) => <RefLink kind="repository" id={one.repository} /> },
        ]}
      />
    </Page>
  )
}
