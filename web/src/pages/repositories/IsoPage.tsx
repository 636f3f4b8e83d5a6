// SPDX-License-Identifier: Apache-2.0
import { useParams } from 'react-router-dom'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { useObject } from '@/live/hooks'
import { eq } from '@/live/match'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { EventsOf, JobsOf, VmsOf } from '@/ui/related'
import { RefLink, Size, StateLabel, Time } from '@/ui/text'

export function Component() {
  const { id } = useParams()
  const { object: iso, gone, error } = useObject('iso', id)
  if (gone) return <NotFound />
  if (!iso) return error ? <ErrorAlert error={error} /> : <Loading />
  const label = (name: string) => fieldLabel('Iso', name)
  return (
    <Page
      title={iso.name}
      crumbs={[[kindLabel('iso', true), '/isos']]}
      state={<StateLabel schema="ObjectState" state={iso.state} />}
      actions={<ActionBar kind="iso" object={iso} />}
      base={`/isos/${id}`}
      tabs={[
        {
          id: '',
          title: t('ui.overview'),
          content: () => (
            <Section title={t('ui.properties')}>
              <Properties
                columns={2}
                rows={[
                  [label('size'), <Size key="s" value={iso.size} />],
                  [label('label'), iso.label],
                  [label('repository'), <RefLink key="r" kind="repository" id={iso.repository} />],
                  [label('created'), <Time key="c" value={iso.created} />],
                  [label('description'), iso.description],
                ]}
              />
            </Section>
          ),
        },
        { id: 'vms', title: kindLabel('vm', true), content: () => <VmsOf filter={[eq('disks.iso', id!)]} /> },
        { id: 'jobs', title: kindLabel('job', true), content: () => <JobsOf id={id!} /> },
        { id: 'events', title: kindLabel('event', true), content: () => <EventsOf id={id!} /> },
      ]}
    />
  )
}
