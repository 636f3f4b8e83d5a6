// SPDX-License-Identifier: Apache-2.0
// What belongs to an object and is shown on its page: virtual machines, jobs, events.
import { Link } from 'react-router-dom'
import type { Term } from '@/live/match'
import { eq } from '@/live/match'
import { JobBadge, jobTitle } from './JobBadge'
import { eventText } from './events'
import { haText } from './ha'
import { ObjectTable } from './ObjectTable'
import { Section } from './Properties'
import { Dash, RefLink, Size, StateLabel, Time } from './text'

export function VmsOf({ filter, withServer = true }: { filter: Term[]; withServer?: boolean }) {
  return (
    <Section>
      <ObjectTable
        kind="vm"
        filter={filter}
        columns={[
          { key: 'name', sort: 'name', width: 30, render: (vm) => <Link to={`/vms/${vm.id}`}>{vm.name}</Link> },
          { key: 'state', choose: true, render: (vm) => <StateLabel compact schema="VmState" state={vm.state} reason={vm.state_reason} /> },
          { key: 'cpus', sort: 'cpus' },
          { key: 'memory', sort: 'memory', render: (vm) => <Size value={vm.memory} /> },
          { key: 'ha', wide: true, render: (vm) => (vm.ha?.enabled ? haText(vm) : <Dash />) },
          ...(withServer ? [{ key: 'server', render: (vm: { server?: string }) => <RefLink kind="server" id={vm.server} /> }] : []),
        ]}
      />
    </Section>
  )
}

/** Jobs about one object, newest first. */
export function JobsOf({ id }: { id: string }) {
  return (
    <Section>
      <ObjectTable
        kind="job"
        filter={[eq('object.id', id)]}
        search="title"
        actions={false}
        columns={[
          { key: 'title', width: 40, render: (job) => <Link to={`/jobs/${job.id}`}>{jobTitle(job)}</Link> },
          { key: 'state', choose: true, render: (job) => <JobBadge job={job} /> },
          { key: 'actor' },
          { key: 'created', render: (job) => <Time value={job.created} /> },
        ]}
      />
    </Section>
  )
}

/** Events about one object, newest first. */
export function EventsOf({ id }: { id: string }) {
  return (
    <Section>
      <ObjectTable
        kind="event"
        filter={[eq('object.id', id)]}
        search="message"
        actions={false}
        columns={[
          { key: 'time', width: 20, render: (event) => <Time value={event.time} /> },
          { key: 'severity', choose: true, render: (event) => <StateLabel compact schema="Severity" state={event.severity} /> },
          { key: 'message', width: 50, render: eventText },
          { key: 'actor' },
        ]}
      />
    </Section>
  )
}
