// SPDX-License-Identifier: Apache-2.0
import { Link } from 'react-router-dom'
import { kindLabel, t } from '@/i18n'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { eventText } from '@/ui/events'
import { ObjectTable } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { Dash, StateLabel, Time } from '@/ui/text'

export function Component() {
  return (
    <Page title={kindLabel('event', true)}>
      <ObjectTable
        kind="event"
        search="message"
        actions={false}
        columns={[
          { key: 'time', width: 15, render: (event) => <Time value={event.time} /> },
          { key: 'severity', width: 10, choose: true, render: (event) => <StateLabel compact schema="Severity" state={event.severity} /> },
          { key: 'message', width: 40, render: eventText },
          { key: 'object', render: (event) => <ObjectRefLink object={event.object} withKind gone={event.kind.endsWith('.deleted')} /> },
          { key: 'actor' },
          { key: 'job', wide: true, render: (event) => (event.job ? <Link to={`/jobs/${event.job}`}>{t('shell.job_details')}</Link> : <Dash />) },
        ]}
      />
    </Page>
  )
}
