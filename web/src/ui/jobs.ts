// SPDX-License-Identifier: Apache-2.0
// What is known of jobs: whether they have ended, what they are called, what can be done about them.
import type { Job } from '@/api/types'
import { currentLanguage, hasText, said, t } from '@/i18n'
import { eq, not, type Term } from '@/live/match'

export const isEnded = (job: Job) => job.state === 'done' || job.state === 'failed' || job.state === 'aborted'
export const isActive = (job: Job) => !isEnded(job)
export const canAbort = (job: Job) => isActive(job) && !job.abort_requested && job.state !== 'undoing'
/** The manager says so while what the job did can still be taken back. */
export const canUndo = (job: Job) => job.undoable

export const ACTIVE: Term[] = [not('state', 'done'), not('state', 'failed'), not('state', 'aborted')]
export const about = (id: string): Term[] => [eq('object.id', id)]

/** What a job does, in the user's language where its kind is known; in English the manager's own words say more. */
export function jobTitle(job: Job) {
  if (currentLanguage() === 'en' && job.title) return job.title
  const key = `job.${job.kind}`
  const name = job.object?.name
  return hasText(key) && name ? t(key, { name }) : job.title
}

export function stepTitle(name: string) {
  const key = `step.${name}`
  return hasText(key) ? t(key) : name
}

/** Seconds that it has taken so far. */
export function jobSeconds(job: Job, now = Date.now()) {
  if (!job.started) return undefined
  return (new Date(job.ended || now).getTime() - new Date(job.started).getTime()) / 1000
}

/** What it is doing, or what it waits for. */
export function jobMessage(job: Job) {
  if (isEnded(job)) return said(job.error)
  if (job.abort_requested) return t('shell.aborting')
  if (job.state === 'queued' && job.waiting_for.length) return t('shell.waits', { count: job.waiting_for.length })
  return said(job.message)
}
