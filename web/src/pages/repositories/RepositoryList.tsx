// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import { useState } from 'react'
import { Link } from 'react-router-dom'
import { can } from '@/api/session'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { Empty } from '@/ui/Empty'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { Size, StateLabel } from '@/ui/text'
import { PresentedTo } from './Presented'
import RepositoryCreate from './RepositoryCreate'
import { Space } from './Space'

export function Component() {
  const [creating, setCreating] = useState(false)
  const tools = can('repository_create') ? <Button onClick={() => setCreating(true)}>{t('repositories.create')}</Button> : undefined
  return (
    <Page title={kindLabel('repository', true)}>
      <ObjectTable
        kind="repository"
        tools={tools}
        empty={<Empty title={t('repositories.none')} text={t('repositories.none_text')} actions={tools} />}
        columns={[
          { key: 'name', sort: 'name', width: 20, render: (one) => <Link to={`/repositories/${one.id}`}>{one.name}</Link> },
          { key: 'state', choose: true, render: (one) => <StateLabel compact schema="ObjectState" state={one.state} /> },
          { key: 'server', render: (one) => <PresentedTo repository={one} /> },
          { key: 'path', wide: true, render: (one) => <code>{one.path}</code> },
          { key: 'capacity', sort: 'capacity', render: (one) => <Size value={one.capacity} /> },
          { key: 'free', sort: 'free', width: 20, label: t('repositories.used'), render: (one) => <Space capacity={one.capacity} free={one.free} label={`${fieldLabel('Repository', 'free')}: ${one.name}`} /> },
        ]}
      />
      {creating ? <RepositoryCreate onClose={() => setCreating(false)} /> : null}
    </Page>
  )
}
