// SPDX-License-Identifier: Apache-2.0
import { Alert } from '@patternfly/react-core'
import { useParams } from 'react-router-dom'
import type { Change, Job } from '@/api/types'
import { enumLabel, fieldLabel, hasText, kindLabel, said, t } from '@/i18n'
import { duration } from '@/i18n/format'
import { useObject } from '@/live/hooks'
import { eq } from '@/live/match'
import { NotFound } from '@/shell/Errors'
import { ActionBar } from '@/ui/ActionMenu'
import { Empty, Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { JobBadge, JobSteps } from '@/ui/JobBadge'
import { isEnded, jobMessage, jobSeconds, jobTitle } from '@/ui/jobs'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { eventText } from '@/ui/events'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { Properties, Section } from '@/ui/Properties'
import { StateIcon } from '@/ui/StateIcon'
import { Reason } from '@/ui/Reason'
import { RefLink, StateLabel, Time } from '@/ui/text'

function Changes({ changes }: { changes: Change[] }) {
  if (!changes.length) return <Empty small title={t('jobpage.no_changes')} />
  return (
    <ul className="tarn-events">
      {changes.map((change, index) => (
        <li key={index}>
          <span className="tarn-change">{enumLabel('Change', change.action)}</span>
          <div>
            <ObjectRefLink object={change.object} withKind gone={change.action === 'deleted'} />
            {change.detail ? <span className="tarn-dim"> {change.detail}</span> : null}
          </div>
        </li>
      ))}
    </ul>
  )
}

/** Why a server was chosen for a virtual machine. */
function Placement({ job }: { job: Job }) {
  return (
    <Section title={t('jobpage.placement')}>
      <ul className="tarn-events">
        {job.placement.map((choice) => (
          <li key={choice.server}>
            <StateIcon state={choice.chosen ? 'done' : choice.ok ? 'info' : 'aborted'} />
            <div>
              <RefLink kind="server" id={choice.server} name={choice.name} /> {choice.chosen ? <strong>{t('jobpage.chosen')}</strong> : null}
              <div className="tarn-dim">{said(choice.reason)}</div>
            </div>
          </li>
        ))}
      </ul>
    </Section>
  )
}

function Body({ job }: { job: Job }) {
  const label = (name: string) => fieldLabel('Job', name)
  const seconds = jobSeconds(job)
  return (
    <>
      {job.error ? (
        <Alert isInline variant={job.state === 'failed' ? 'danger' : 'warning'} title={t(hasText(`error.${job.error_code}`) ? `error.${job.error_code}` : 'error.internal')}>
          <Reason text={job.error} />
          {isEnded(job) ? <p>{t('jobpage.undone')}</p> : null}
        </Alert>
      ) : null}
      {job.warnings.length && job.state === 'done' ? (
        <Alert isInline variant="warning" title={t('jobpage.warned')}>
          {job.warnings.map((text) => (
            <div key={text}>
              <Reason text={text} />
            </div>
          ))}
        </Alert>
      ) : null}
      {job.waiting_for.length ? (
        <Alert isInline variant="info" title={t('jobpage.waiting', { count: job.waiting_for.length })}>
          {job.waiting_for.slice(0, 5).map((id) => (
            <div key={id}>
              <JobLink id={id} />
            </div>
          ))}
        </Alert>
      ) : null}
      <div className="tarn-grid">
        <Section title={t('ui.properties')}>
          <Properties
            rows={[
              [label('state'), <JobBadge key="b" job={job} />],
              [label('message'), !isEnded(job) && jobMessage(job)],
              [label('object'), <ObjectRefLink key="o" object={job.object} withKind gone={job.state === 'done' && job.kind.endsWith('.delete')} />],
              [label('actor'), job.actor],
              [label('aborted_by'), job.aborted_by || undefined],
              [label('undoes'), job.undoes ? <JobLink key="u" id={job.undoes} /> : undefined],
              [label('undone_by'), job.undone_by ? <JobLink key="n" id={job.undone_by} /> : undefined],
              [label('created'), <Time key="c" value={job.created} />],
              [label('started'), <Time key="s" value={job.started} />],
              [label('ended'), <Time key="e" value={job.ended} />],
              [t('shell.job_took'), seconds === undefined ? '' : duration(seconds)],
            ]}
          />
        </Section>
        <Section title={t('shell.job_steps')}>
          <JobSteps job={job} />
        </Section>
        <Section title={label('changes')}>
          <Changes changes={job.changes} />
        </Section>
        {job.placement.length ? <Placement job={job} /> : null}
      </div>
      <Section title={kindLabel('event', true)}>
        <ObjectTable
          kind="event"
          id="events"
          search="message"
          limit={20}
          actions={false}
          filter={[eq('job', job.id)]}
          columns={[
            { key: 'time', width: 15, render: (event) => <Time value={event.time} /> },
            { key: 'severity', width: 15, render: (event) => <StateLabel compact schema="Severity" state={event.severity} /> },
            { key: 'message', render: eventText },
          ]}
          empty={<Empty small title={t('ui.none_of', { kind: kindLabel('event', true) })} />}
        />
      </Section>
    </>
  )
}

function JobLink({ id }: { id: string }) {
  const { object } = useObject('job', id)
  return <>{object ? <RefLink kind="job" id={id} name={jobTitle(object)} /> : '…'}</>
}

export function Component() {
  const { id } = useParams()
  const { object: job, gone, error } = useObject('job', id)
  if (gone) return <NotFound />
  if (!job) return error ? <ErrorAlert error={error} /> : <Loading />
  return (
    <Page
      title={jobTitle(job)}
      crumbs={[[kindLabel('job', true), '/jobs']]}
      state={<StateLabel schema="JobState" state={job.state} />}
      actions={<ActionBar kind="job" object={job} />}
    >
      <Body job={job} />
    </Page>
  )
}
