// SPDX-License-Identifier: Apache-2.0
// What an event says, in the user's language. The manager writes English; the event's stable code and its object say the same
// again, but for the reason, which is taken over as it is.
import type { Event } from '@/api/types'
import { currentLanguage, hasText, said, t } from '@/i18n'

/** Behind the first colon stands why. */
function reason(message: string, after = ': ') {
  const at = message.indexOf(after)
  return at < 0 ? '' : message.slice(at + after.length)
}

function jobName(kind: string, name: string) {
  const key = `job.${kind}`
  return hasText(key) ? t(key, { name }) : undefined
}

export function eventText(event: Event): string {
  if (currentLanguage() === 'en') return event.message
  const name = event.object?.name ?? ''
  const ended = /^(.+)\.(done|failed|aborted)$/.exec(event.kind)
  if (ended) {
    const title = jobName(ended[1], name)
    const why = reason(event.message, `: ${ended[2]}: `)
    if (title) return t(`event.job_${ended[2]}`, { title }) + (why ? t('event.why', { why: said(why) }) : '')
  }
  const asked = event.message.includes(' asked: ') ? jobName(event.kind, name) : undefined
  if (asked) return t('event.asked', { actor: event.actor, title: asked })
  const key = `event.${event.kind}`
  if (!hasText(key)) return event.message
  const why = event.severity === 'info' ? '' : reason(event.message)
  return t(key, { name, actor: event.actor }) + (why ? t('event.why', { why: said(why) }) : '')
}
