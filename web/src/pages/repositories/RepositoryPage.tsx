// SPDX-License-Identifier: Apache-2.0
import { Link, useParams } from 'react-router-dom'
import type { Repository } from '@/api/types'
import { enumLabel, fieldLabel, kindLabel, t } from '@/i18n'
import { useObject } from '@/live/hooks'
import { eq } from '@/live/match'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { EventsOf, JobsOf } from '@/ui/related'
import { Size, StateLabel, Time } from '@/ui/text'
import { DiskTable } from './DiskTable'
import { IsoTable } from './IsoTable'
import { PresentedTable, PresentedTo } from './Presented'
import { Space } from './Space'
import { Uploads } from './Uploads'

function Overview({ repository }: { repository: Repository }) {
  const label = (name: string) => fieldLabel('Repository', name)
  return (
    <>
      <Section title={t('repositories.space_title')}>
        <Space long capacity={repository.capacity} free={repository.free} label={t('repositories.space_title')} />
      </Section>
      <Section title={t('ui.properties')}>
        <Properties
          columns={2}
          rows={[
            [label('driver'), enumLabel('RepositoryDriver', repository.driver)],
            [label('path'), <code key="p">{repository.path}</code>],
            [label(repository.pool ? 'pool' : 'server'), <PresentedTo key="s" repository={repository} />],
            [label('capacity'), <Size key="c" value={repository.capacity} />],
            [label('free'), <Size key="f" value={repository.free} />],
            [label('created'), <Time key="t" value={repository.created} />],
            [label('description'), repository.description],
          ]}
        />
      </Section>
      <Section title={fieldLabel('Repository', 'presented')}>
        <PresentedTable repository={repository} />
      </Section>
    </>
  )
}

function Templates({ id }: { id: string }) {
  return (
    <Section>
      <ObjectTable
        kind="template"
        filter={[eq('repository', id)]}
        columns={[
          { key: 'name', sort: 'name', width: 40, render: (one) => <Link to={`/templates/${one.id}`}>{one.name}</Link> },
          { key: 'state', choose: true, render: (one) => <StateLabel compact schema="ObjectState" state={one.state} /> },
          { key: 'memory', sort: 'memory', render: (one) => <Size value={one.memory} /> },
        ]}
      />
    </Section>
  )
}

export function Component() {
  const { id } = useParams()
  const { object: repository, gone, error } = useObject('repository', id)
  if (gone) return <NotFound />
  if (!repository) return error ? <ErrorAlert error={error} /> : <Loading />
  return (
    <Page
      title={repository.name}
      crumbs={[[kindLabel('repository', true), '/repositories']]}
      state={<StateLabel schema="ObjectState" state={repository.state} />}
      actions={<ActionBar kind="repository" object={repository} />}
      base={`/repositories/${id}`}
      tabs={[
        { id: '', title: t('ui.overview'), content: () => <Overview repository={repository} /> },
        { id: 'disks', title: kindLabel('disk', true), content: () => <DiskTable filter={[eq('repository', id!)]} repository={id} /> },
        { id: 'templates', title: kindLabel('template', true), content: () => <Templates id={id!} /> },
        { id: 'isos', title: kindLabel('iso', true), content: () => <IsoTable filter={[eq('repository', id!)]} repository={id} /> },
        { id: 'uploads', title: kindLabel('upload', true), content: () => <Uploads repository={repository} /> },
        { id: 'jobs', title: kindLabel('job', true), content: () => <JobsOf id={id!} /> },
        { id: 'events', title: kindLabel('event', true), content: () => <EventsOf id={id!} /> },
      ]}
    />
  )
}
