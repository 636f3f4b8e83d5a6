// SPDX-License-Identifier: Apache-2.0
import { useParams } from 'react-router-dom'
import type { Template } from '@/api/types'
import { enumLabel, fieldLabel, kindLabel, t } from '@/i18n'
import { useObject } from '@/live/hooks'
import { eq } from '@/live/match'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { EventsOf, JobsOf, VmsOf } from '@/ui/related'
import { SimpleTable } from '@/ui/SimpleTable'
import { RefLink, Size, StateLabel, Tags, Time } from '@/ui/text'

function Overview({ template }: { template: Template }) {
  const label = (name: string) => fieldLabel('Template', name)
  return (
    <>
      <Section title={t('ui.properties')}>
        <Properties
          columns={2}
          rows={[
            [label('repository'), <RefLink key="r" kind="repository" id={template.repository} />],
            [label('cpus'), template.cpus],
            [label('memory'), <Size key="m" value={template.memory} />],
            [label('machine'), enumLabel('Machine', template.machine)],
            [label('firmware'), enumLabel('Firmware', template.firmware)],
            [t('templates.direct_boot'), template.kernel ? t(template.initrd ? 'templates.kernel_initrd' : 'templates.kernel') : undefined],
            [label('cmdline'), template.kernel ? <code>{template.cmdline || '–'}</code> : undefined],
            [label('tags'), <Tags key="g" tags={template.tags} />],
            [label('created'), <Time key="c" value={template.created} />],
            [label('description'), template.description],
          ]}
        />
      </Section>
      {template.disks?.length ? (
        <Section title={fieldLabel('Template', 'disks')}>
          <SimpleTable
            label={fieldLabel('Template', 'disks')}
            head={['#', fieldLabel('TemplateDisk', 'size'), fieldLabel('TemplateDisk', 'allocated'), fieldLabel('TemplateDisk', 'bus')]}
            rows={template.disks.map((disk, index) => [index + 1, <Size key="s" value={disk.size} />, <Size key="a" value={disk.allocated} />, enumLabel('DiskBus', disk.bus)])}
          />
        </Section>
      ) : null}
    </>
  )
}

export function Component() {
  const { id } = useParams()
  const { object: template, gone, error } = useObject('template', id)
  if (gone) return <NotFound />
  if (!template) return error ? <ErrorAlert error={error} /> : <Loading />
  return (
    <Page
      title={template.name}
      crumbs={[[kindLabel('template', true), '/templates']]}
      state={<StateLabel schema="ObjectState" state={template.state} />}
      actions={<ActionBar kind="template" object={template} />}
      base={`/templates/${id}`}
      tabs={[
        { id: '', title: t('ui.overview'), content: () => <Overview template={template} /> },
        { id: 'vms', title: kindLabel('vm', true), content: () => <VmsOf filter={[eq('template', id!)]} /> },
        { id: 'jobs', title: kindLabel('job', true), content: () => <JobsOf id={id!} /> },
        { id: 'events', title: kindLabel('event', true), content: () => <EventsOf id={id!} /> },
      ]}
    />
  )
}
