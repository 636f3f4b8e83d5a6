// SPDX-License-Identifier: Apache-2.0
import { useParams } from 'react-router-dom'
import type { Disk } from '@/api/types'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { useObject } from '@/live/hooks'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { EventsOf, JobsOf } from '@/ui/related'
import { RefLink, Size, StateLabel, Time, Yes } from '@/ui/text'

function Overview({ disk }: { disk: Disk }) {
  const label = (name: string) => fieldLabel('Disk', name)
  return (
    <Section title={t('ui.properties')}>
      <Properties
        columns={2}
        rows={[
          [label('size'), <Size key="s" value={disk.size} />],
          [label('allocated'), <Size key="a" value={disk.allocated} />],
          [label('vm'), <RefLink key="v" kind="vm" id={disk.vm} />],
          [label('made_with_vm'), disk.vm ? <Yes key="y" value={disk.made_with_vm} /> : undefined],
          [label('template'), <RefLink key="t" kind="template" id={disk.template} />],
          [label('repository'), <RefLink key="r" kind="repository" id={disk.repository} />],
          [label('created'), <Time key="c" value={disk.created} />],
          [label('description'), disk.description],
        ]}
      />
    </Section>
  )
}

export function Component() {
  const { id } = useParams()
  const { object: disk, gone, error } = useObject('disk', id)
  if (gone) return <NotFound />
  if (!disk) return error ? <ErrorAlert error={error} /> : <Loading />
  return (
    <Page
      title={disk.name}
      crumbs={[[kindLabel('disk', true), '/disks']]}
      state={<StateLabel schema="ObjectState" state={disk.state} />}
      actions={<ActionBar kind="disk" object={disk} />}
      base={`/disks/${id}`}
      tabs={[
        { id: '', title: t('ui.overview'), content: () => <Overview disk={disk} /> },
        { id: 'jobs', title: kindLabel('job', true), content: () => <JobsOf id={id!} /> },
        { id: 'events', title: kindLabel('event', true), content: () => <EventsOf id={id!} /> },
      ]}
    />
  )
}
