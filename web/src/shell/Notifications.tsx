// SPDX-License-Identifier: Apache-2.0
// The bell: warnings and errors among the events that have come since it was last opened; the panel with the newest.
import { Button, NotificationBadge, NotificationBadgeVariant } from '@patternfly/react-core'
import TimesIcon from '@patternfly/react-icons/dist/esm/icons/times-icon'
import { useEffect, useMemo, useState } from 'react'
import { Link } from 'react-router-dom'
import { can, session } from '@/api/session'
import { enumLabel, t } from '@/i18n'
import { useList } from '@/live/hooks'
import { not } from '@/live/match'
import { eventText } from '@/ui/events'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { StateIcon } from '@/ui/StateIcon'
import { Time } from '@/ui/text'
import { Alarms, useAlarms } from './Alarms'

const NOTABLE = [not('severity', 'info')]

function seenKey() {
  return `tarn.seen.${session().user}`
}

export function useNotifications() {
  const [open, setOpen] = useState(false)
  const [seen, setSeen] = useState(() => localStorage.getItem(seenKey()) ?? '')
  const events = useList('event', { filter: NOTABLE, limit: 20 })
  const alarms = useAlarms()
  const newest = events.items[0]?.time ?? ''
  useEffect(() => {
    if (!open || newest <= seen) return
    localStorage.setItem(seenKey(), newest)
    setSeen(newest)
  }, [open, newest, seen])
  const unread = useMemo(() => events.items.filter((event) => event.time > seen).length, [events.items, seen])
  return { open, setOpen, unread, events: events.items, alarms }
}

type State = ReturnType<typeof useNotifications>

export function Bell({ state }: { state: State }) {
  const unseen = state.alarms.filter((alarm) => !alarm.acknowledged_by).length
  const count = unseen || state.unread
  return (
    <NotificationBadge
      variant={unseen ? NotificationBadgeVariant.attention : state.unread ? NotificationBadgeVariant.unread : NotificationBadgeVariant.read}
      count={count}
      aria-label={t('shell.notifications_count', { count })}
      isExpanded={state.open}
      onClick={() => state.setOpen(!state.open)}
    />
  )
}

export function NotificationPanel({ state }: { state: State }) {
  useEffect(() => {
    const key = (event: KeyboardEvent) => event.key === 'Escape' && state.setOpen(false)
    document.addEventListener('keydown', key)
    return () => document.removeEventListener('keydown', key)
  }, [state])
  return (
    <aside className="tarn-drawer" aria-label={t('shell.notifications')}>
      <div className="tarn-drawer__head">
        <h2>{t('shell.notifications')}</h2>
        <Button variant="plain" aria-label={t('shell.close')} icon={<TimesIcon />} onClick={() => state.setOpen(false)} />
      </div>
      <div className="tarn-drawer__body">
        <Alarms alarms={state.alarms} />
        <h3>{t('shell.notable_events')}</h3>
        {state.events.length ? null : <p className="tarn-dim">{t('shell.no_notable_events')}</p>}
        <ul className="tarn-events">
          {state.events.map((event) => (
            <li key={event.id}>
              <StateIcon state={event.severity} label={enumLabel('Severity', event.severity)} />
              <div>
                <div title={event.message}>{eventText(event)}</div>
                <div className="tarn-dim">
                  <Time value={event.time} /> · <ObjectRefLink object={event.object} /> · {event.actor}
                </div>
              </div>
            </li>
          ))}
        </ul>
      </div>
      {can('event_list') ? (
        <div className="tarn-drawer__foot">
          <Link to="/events" onClick={() => state.setOpen(false)}>
            {t('shell.all_events')}
          </Link>
        </div>
      ) : null}
    </aside>
  )
}
