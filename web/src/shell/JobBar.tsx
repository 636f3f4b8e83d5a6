// SPDX-License-Identifier: Apache-2.0
// What is being done now, at the foot of every page: jobs under way with their progress, then those that have just ended.
import { Button, Tooltip } from '@patternfly/react-core'
import AngleDownIcon from '@patternfly/react-icons/dist/esm/icons/angle-down-icon'
import AngleUpIcon from '@patternfly/react-icons/dist/esm/icons/angle-up-icon'
import AngleRightIcon from '@patternfly/react-icons/dist/esm/icons/angle-right-icon'
import BanIcon from '@patternfly/react-icons/dist/esm/icons/ban-icon'
import UndoIcon from '@patternfly/react-icons/dist/esm/icons/undo-icon'
import { Fragment, useEffect, useRef, useState } from 'react'
import { Link } from 'react-router-dom'
import { actionsFor, isEnabled } from '@/actions'
import { useRunAction } from '@/actions/ActionHost'
import { session } from '@/api/session'
import type { Job } from '@/api/types'
import { enumLabel, said, t } from '@/i18n'
import { useList } from '@/live/hooks'
import { JobBadge, JobSteps } from '@/ui/JobBadge'
import { ACTIVE, isActive, isEnded, jobMessage, jobTitle } from '@/ui/jobs'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { Reason } from '@/ui/Reason'
import { StateIcon } from '@/ui/StateIcon'
import { Time } from '@/ui/text'
import { useToasts } from '@/ui/Toasts'

const ACTIVE_MAX = 50
const RECENT = 15
const REMEMBERED = 'tarn.jobs'
/** More than are shown by far: one that is shown again is not told again. */
const REMEMBERED_JOBS = 1000

/** Abort while it runs, undo when it has ended and can be taken back. */
function JobButtons({ job }: { job: Job }) {
  const run = useRunAction()
  return actionsFor('job')
    .filter((action) => isEnabled(action, [job]))
    .map((action) => (
      <Tooltip key={action.id} content={t(`action.${action.id}`)}>
        <Button variant="plain" size="sm" aria-label={t('ui.action_for', { action: t(`action.${action.id}`), name: jobTitle(job) })} icon={action.id === 'job.undo' ? <UndoIcon /> : <BanIcon />} onClick={() => run(action, [job])} />
      </Tooltip>
    ))
}

function Row({ job, open, toggle }: { job: Job; open: boolean; toggle: () => void }) {
  return (
    <Fragment>
      <tr>
        <td>
          <button type="button" className="tarn-jobs__toggle" aria-expanded={open} aria-label={t('shell.job_steps_of', { title: jobTitle(job) })} onClick={toggle}>
            {open ? <AngleDownIcon /> : <AngleRightIcon />}
          </button>
          <Link to={`/jobs/${job.id}`}>{jobTitle(job)}</Link>
        </td>
        <td>
          <ObjectRefLink object={job.object} gone={job.state === 'done' && job.kind.endsWith('.delete')} />
        </td>
        <td>
          <JobBadge job={job} />
        </td>
        <td className="tarn-jobs__message" title={said(job.error || job.message)}>
          {jobMessage(job)}
        </td>
        <td>{job.actor}</td>
        <td>
          <Time value={job.ended || job.started || job.created} />
        </td>
        <td className="tarn-jobs__actions">
          <JobButtons job={job} />
        </td>
      </tr>
      {open ? (
        <tr>
          <td colSpan={7}>
            <JobSteps job={job} />
          </td>
        </tr>
      ) : null}
    </Fragment>
  )
}

/** Tells those who asked for a job that it has failed, or what else they should know: they may have gone on to something else. */
function useFailures(jobs: Job[], loaded: boolean) {
  const toasts = useToasts()
  // Whether each had ended; nothing until what ended before this page was opened is known. A short job is first seen when it has ended.
  const seen = useRef<Map<string, boolean>>(undefined)
  useEffect(() => {
    if (!loaded && !seen.current) return
    const first = !seen.current
    const known = (seen.current ??= new Map())
    for (const job of jobs) {
      if (known.get(job.id)) continue
      known.set(job.id, isEnded(job))
      if (first || !isEnded(job) || job.actor !== session().user) continue
      if (job.state === 'done' && job.warnings.length) {
        toasts.add({
          variant: 'warning',
          stays: true,
          title: jobTitle(job),
          text: job.warnings.map((text) => <Reason key={text} text={text} />),
          action: <Link to={`/jobs/${job.id}`}>{t('shell.job_details')}</Link>,
        })
      }
      if (job.state !== 'done' && job.aborted_by !== session().user) {
        toasts.add({
          variant: job.state === 'failed' ? 'danger' : 'warning',
          title: `${jobTitle(job)}: ${enumLabel('JobState', job.state)}`,
          text: job.error ? <Reason text={job.error} /> : undefined,
          action: <Link to={`/jobs/${job.id}`}>{t('shell.job_details')}</Link>,
        })
      }
    }
    for (const id of known.keys()) {
      if (known.size <= REMEMBERED_JOBS) break
      known.delete(id)
    }
  }, [jobs, loaded, toasts])
}

export function JobBar() {
  const [expanded, setExpanded] = useState(localStorage.getItem(REMEMBERED) === 'open')
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set())
  const active = useList('job', { filter: ACTIVE, limit: ACTIVE_MAX })
  const recent = useList('job', { limit: RECENT })
  const running = active.items.filter(isActive)
  const ended = recent.items.filter((job) => !running.some((one) => one.id === job.id))
  const jobs = [...running, ...ended]
  useFailures([...active.items, ...recent.items], !active.loading && !recent.loading && !active.error && !recent.error)
  const toggle = (id: string) =>
    setOpened((old) => {
      const next = new Set(old)
      if (!next.delete(id)) next.add(id)
      return next
    })
  const show = (on: boolean) => {
    localStorage.setItem(REMEMBERED, on ? 'open' : 'closed')
    setExpanded(on)
  }
  const latest = running[0] ?? ended[0]
  const count = active.next ? `${ACTIVE_MAX}+` : running.length
  return (
    <section className={`tarn-jobs${expanded ? ' tarn-jobs--open' : ''}`} aria-label={t('shell.jobs')}>
      <div className="tarn-jobs__strip">
        <Button variant="plain" size="sm" icon={expanded ? <AngleDownIcon /> : <AngleUpIcon />} aria-expanded={expanded} aria-label={t('shell.jobs_show')} onClick={() => show(!expanded)} />
        <strong>{running.length ? t('shell.jobs_running', { count }) : t('shell.jobs')}</strong>
        {!expanded && latest ? (
          <span className="tarn-jobs__latest">
            {isEnded(latest) ? <StateIcon state={latest.state} /> : null}
            <Link to={`/jobs/${latest.id}`}>{jobTitle(latest)}</Link>
            {isActive(latest) ? <JobBadge job={latest} /> : <span className="tarn-dim">{enumLabel('JobState', latest.state)} · <Time value={latest.ended} /></span>}
            <JobButtons job={latest} />
          </span>
        ) : null}
        <Link className="tarn-jobs__history" to="/jobs">
          {t('shell.jobs_history')}
        </Link>
      </div>
      {expanded ? (
        <div className="tarn-jobs__list">
          <table>
            <thead>
              <tr>
                <th>{t('shell.job')}</th>
                <th>{t('shell.job_object')}</th>
                <th>{t('shell.job_state')}</th>
                <th>{t('shell.job_message')}</th>
                <th>{t('shell.job_actor')}</th>
                <th>{t('shell.job_time')}</th>
                <th>
                  <span className="tarn-unseen">{t('ui.actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {jobs.map((job) => (
                <Row key={job.id} job={job} open={opened.has(job.id)} toggle={() => toggle(job.id)} />
              ))}
            </tbody>
          </table>
          {jobs.length ? null : <p className="tarn-dim tarn-jobs__none">{t('shell.jobs_none')}</p>}
        </div>
      ) : null}
    </section>
  )
}
