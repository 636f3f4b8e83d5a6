// SPDX-License-Identifier: Apache-2.0
// What is wrong now, as the manager sees it, and who has seen it.
import { Button } from '@patternfly/react-core'
import { useState } from 'react'
import { call } from '@/api/client'
import { can } from '@/api/session'
import type { Alarm } from '@/api/types'
import { enumLabel, hasText, t } from '@/i18n'
import { Reason } from '@/ui/Reason'
import { useList } from '@/live/hooks'
import { eq } from '@/live/match'
import { errorText } from '@/ui/ErrorAlert'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { StateIcon } from '@/ui/StateIcon'
import { Time } from '@/ui/text'
import { useToasts } from '@/ui/Toasts'

const ACTIVE = [eq('active', 'true')]
const MOST = 50

/** Those that are active, the ones that nobody has seen first. */
export function useAlarms(): Alarm[] {
  const { items } = useList('alarm', { filter: ACTIVE, limit: MOST })
  return [...items].filter((alarm) => alarm.active).sort((a, b) => Number(!!a.acknowledged_by) - Number(!!b.acknowledged_by))
}

export function AlarmRow({ alarm }: { alarm: Alarm }) {
  const [busy, setBusy] = useState(false)
  const toasts = useToasts()
  const key = `alarm.${alarm.code}`
  const acknowledge = async () => {
    setBusy(true)
    try {
      await call('alarm_acknowledge', { params: { alarm: alarm.id } })
    } catch (error) {
      toasts.add({ variant: 'danger', title: t('shell.acknowledge'), text: errorText(error) })
    } finally {
      setBusy(false)
    }
  }
  return (
    <li className={alarm.acknowledged_by ? 'tarn-alarm tarn-alarm--seen' : 'tarn-alarm'}>
      <StateIcon state={alarm.severity} label={enumLabel('Severity', alarm.severity)} />
      <div>
        <div className="tarn-alarm__title">
          {hasText(key) ? <strong>{t(key)}</strong> : null} <ObjectRefLink object={alarm.object} withKind />
        </div>
        <div>
          <Reason text={alarm.message} />
        </div>
        <div className="tarn-dim">
          <Time value={alarm.raised} />
          {alarm.acknowledged_by ? <> · {t('shell.seen_by', { user: alarm.acknowledged_by })}</> : null}
        </div>
      </div>
      {!alarm.acknowledged_by && can('alarm_acknowledge') ? (
        <Button variant="link" size="sm" isLoading={busy} isDisabled={busy} onClick={() => void acknowledge()}>
          {t('shell.acknowledge')}
        </Button>
      ) : null}
    </li>
  )
}

export function Alarms({ alarms }: { alarms: Alarm[] }) {
  return (
    <>
      <h3>{t('shell.alarms')}</h3>
      {alarms.length ? null : <p className="tarn-dim">{t('shell.no_alarms')}</p>}
      <ul className="tarn-events">
        {alarms.map((alarm) => (
          <AlarmRow key={alarm.id} alarm={alarm} />
        ))}
      </ul>
    </>
  )
}
