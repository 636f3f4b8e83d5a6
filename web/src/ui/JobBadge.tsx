// SPDX-License-Identifier: Apache-2.0
import { Progress, ProgressMeasureLocation, ProgressSize } from '@patternfly/react-core'
import type { Job } from '@/api/types'
import { enumLabel, hasText, t } from '@/i18n'
import { StateIcon } from './StateIcon'

export const isEnded = (job: Job) => job.state === 'done' || job.state === 'failed' || job.state === 'aborted'

/** What a job does, in the user's language where its kind is known. */
export function jobTitle(job: Job) {
  const key = `job.${job.kind}`
  const name = job.object?.name
  return hasText(key) && name ? t(key, { name }) : job.title
}

export function stepTitle(name: string) {
  const key = `step.${name}`
  return hasText(key) ? t(key) : name
}

/** State and, while it runs, progress. */
export function JobBadge({ job }: { job: Job }) {
  if (job.state === 'running' || job.state === 'undoing') {
    return (
      <Progress
        className="tarn-job-progress"
        aria-label={jobTitle(job)}
        value={job.progress}
        size={ProgressSize.sm}
        measureLocation={ProgressMeasureLocation.outside}
        variant={job.state === 'undoing' ? 'warning' : undefined}
      />
    )
  }
  return (
    <span className="tarn-state">
      <StateIcon state={job.state} /> {enumLabel('JobState', job.state)}
    </span>
  )
}
