// SPDX-License-Identifier: Apache-2.0
import { Link } from 'react-router-dom'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { duration } from '@/i18n/format'
import { JobBadge, JobSteps } from '@/ui/JobBadge'
import { jobSeconds, jobTitle } from '@/ui/jobs'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { Dash, Time } from '@/ui/text'

export function Component() {
  return (
    <Page title={kindLabel('job', true)}>
      <ObjectTable
        kind="job"
        search="title"
        columns={[
          { key: 'title', width: 30, render: (job) => <Link to={`/jobs/${job.id}`}>{jobTitle(job)}</Link> },
          { key: 'state', choose: true, render: (job) => <JobBadge job={job} /> },
          { key: 'object', render: (job) => <ObjectRefLink object={job.object} withKind gone={job.state === 'done' && job.kind.endsWith('.delete')} /> },
          { key: 'actor' },
          { key: 'started', label: fieldLabel('Job', 'started'), render: (job) => <Time value={job.started} /> },
          {
            key: 'ended',
            label: t('shell.job_took'),
            wide: true,
            render: (job) => {
              const seconds = jobSeconds(job)
              return seconds === undefined ? <Dash /> : duration(seconds)
            },
          },
        ]}
        expand={(job) => <JobSteps job={job} />}
      />
    </Page>
  )
}
