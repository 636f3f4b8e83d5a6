// SPDX-License-Identifier: Apache-2.0
import { Progress, ProgressMeasureLocation, ProgressSize, Tooltip } from '@patternfly/react-core'
import type { Job } from '@/api/types'
import { enumLabel, t } from '@/i18n'
import { duration } from '@/i18n/format'
import { jobTitle, stepTitle } from './jobs'
import { StateIcon } from './StateIcon'
import { RefLink } from './text'

export { isEnded, jobTitle, stepTitle } from './jobs'

/** State and, while it runs, progress. */
export function JobBadge({ job }: { job: Job }) {
  if (job.state === 'running' || job.state === 'undoing') {
    return (
      <span className="tarn-job-badge">
        {job.state === 'undoing' ? <StateIcon state="undoing" label={enumLabel('JobState', 'undoing')} /> : null}
        <Progress
          className="tarn-job-progress"
          aria-label={jobTitle(job)}
          value={job.progress}
          size={ProgressSize.sm}
          measureLocation={ProgressMeasureLocation.outside}
          variant={job.state === 'undoing' ? 'warning' : undefined}
        />
      </span>
    )
  }
  const state = (
    <span className="tarn-state">
      <StateIcon state={job.state} /> {enumLabel('JobState', job.state)}
    </span>
  )
  return job.error ? <Tooltip content={job.error}><span tabIndex={0}>{state}</span></Tooltip> : state
}

/** The steps of a job, one below the other: which one runs, where, how long each took, what failed. */
export function JobSteps({ job }: { job: Job }) {
  return (
    <ol aria-label={t('shell.job_steps')} className="tarn-steps">
      {job.steps.map((step, index) => {
        const seconds = step.started && step.ended ? (new Date(step.ended).getTime() - new Date(step.started).getTime()) / 1000 : undefined
        const now = step.state === 'running' || step.state === 'undoing'
        return (
          <li key={index} aria-current={now ? 'step' : undefined}>
            <StateIcon state={now ? 'busy' : step.state} />
            <span className="tarn-step">
              <span>{stepTitle(step.name)}</span>
              <span className="tarn-dim">{enumLabel('StepState', step.state)}</span>
              {step.server ? <RefLink kind="server" id={step.server} /> : null}
              {seconds !== undefined ? <span className="tarn-dim">{duration(seconds)}</span> : null}
              {step.attempts > 1 ? <span className="tarn-dim">{t('shell.attempts', { count: step.attempts })}</span> : null}
              {step.error ? <span className="tarn-bad">{step.error}</span> : null}
            </span>
          </li>
        )
      })}
    </ol>
  )
}
