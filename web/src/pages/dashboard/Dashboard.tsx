// SPDX-License-Identifier: Apache-2.0
// Everything at a glance: is anything wrong, is there room, what is being done, who uses most.
import { Progress, ProgressMeasureLocation, ProgressSize } from '@patternfly/react-core'
import { Link } from 'react-router-dom'
import { call } from '@/api/client'
import { can } from '@/api/session'
import type { Consumer, Pool, StateCount, Summary } from '@/api/types'
import { enumLabel, kindLabel, t } from '@/i18n'
import { number, percent, rate, size } from '@/i18n/format'
import { useList, usePolled } from '@/live/hooks'
import { eq } from '@/live/match'
import { AlarmRow, useAlarms } from '@/shell/Alarms'
import { Empty, Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { JobBadge } from '@/ui/JobBadge'
import { ACTIVE, isActive, jobTitle } from '@/ui/jobs'
import { eventText } from '@/ui/events'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { Page } from '@/ui/Page'
import { Section } from '@/ui/Properties'
import { StateIcon } from '@/ui/StateIcon'
import { RefLink, Time } from '@/ui/text'

const EVERY_MS = 5000

const total = (states: StateCount[]) => states.reduce((sum, one) => sum + one.count, 0)

/** How many there are, and in which states; each a link to the list of those. */
function Health({ kind, plural, schema, states }: { kind: string; plural: string; schema: string; states: StateCount[] }) {
  return (
    <div className="tarn-health">
      <Link className="tarn-health__total" to={`/${plural}`}>
        <span className="tarn-health__number">{number(total(states))}</span> {kindLabel(kind, true)}
      </Link>
      <ul>
        {states.map((one) => (
          <li key={one.state}>
            <Link to={`/${plural}?state=${encodeURIComponent(one.state)}`}>
              <StateIcon state={one.state} /> {number(one.count)} {enumLabel(schema, one.state)}
            </Link>
          </li>
        ))}
      </ul>
    </div>
  )
}

const POOLS = 8
const SERVERS = 100

/** How a pool's servers are: live, as many as one page has. */
function PoolHealth({ pool }: { pool: Pool }) {
  const { items, next, loading } = useList('server', { filter: [eq('pool', pool.id)], fields: 'id,revision,name,state,maintenance,pool', limit: SERVERS })
  const online = items.filter((server) => server.state === 'online').length
  const resting = items.filter((server) => server.maintenance !== 'off').length
  const state = !items.length ? 'pending' : online === items.length ? 'healthy' : online ? 'degraded' : 'unavailable'
  const count = `${items.length}${next ? '+' : ''}`
  return (
    <li>
      <StateIcon state={loading && !items.length ? 'pending' : state} />
      <RefLink kind="pool" id={pool.id} name={pool.name} />
      <span className="tarn-dim">
        {[t('dashboard.servers_online', { online, total: count }), resting ? t('dashboard.in_maintenance', { count: resting }) : '', t(pool.clustered ? 'dashboard.clustered' : 'dashboard.not_clustered')].filter(Boolean).join(' · ')}
      </span>
    </li>
  )
}

function Pools() {
  const { items, next } = useList('pool', { limit: POOLS })
  if (!items.length) return null
  return (
    <ul className="tarn-pools" aria-label={kindLabel('pool', true)}>
      {items.map((pool) => (
        <PoolHealth key={pool.id} pool={pool} />
      ))}
      {next ? (
        <li>
          <Link to="/pools">{kindLabel('pool', true)} …</Link>
        </li>
      ) : null}
    </ul>
  )
}

function Meter({ label, used, of, text, more }: { label: string; used: number; of: number; text: string; more?: string }) {
  const value = of > 0 ? Math.min(100, (used / of) * 100) : 0
  return (
    <div className="tarn-meter">
      <Progress
        title={label}
        value={value}
        label={of > 0 ? percent(used / of) : '–'}
        size={ProgressSize.sm}
        measureLocation={ProgressMeasureLocation.top}
        variant={value >= 95 ? 'danger' : value >= 85 ? 'warning' : undefined}
        aria-label={label}
      />
      <div className="tarn-dim tarn-meter__text">
        <span>{text}</span>
        <span>{more}</span>
      </div>
    </div>
  )
}

function Capacity({ summary }: { summary: Summary }) {
  const c = summary.capacity
  if (!c) return null
  const of = (a: string, b: string) => t('dashboard.used_of', { used: a, total: b })
  return (
    <div className="tarn-meters">
      <Meter label={t('dashboard.cpu')} used={c.cpus_used} of={c.cpus} text={of(number(c.cpus_used, 1), t('dashboard.cpus', { count: c.cpus }))} more={t('dashboard.cpus_given', { count: c.cpus_allocated })} />
      <Meter label={t('dashboard.memory')} used={c.memory_used} of={c.memory} text={of(size(c.memory_used), size(c.memory))} more={t('dashboard.memory_given', { size: size(c.memory_allocated) })} />
      <Meter label={t('dashboard.storage')} used={c.storage - c.storage_free} of={c.storage} text={of(size(c.storage - c.storage_free), size(c.storage))} more={t('dashboard.storage_free', { size: size(c.storage_free) })} />
    </div>
  )
}

function Top({ title, items, format }: { title: string; items: Consumer[]; format: (value: number) => string }) {
  const most = Math.max(...items.map((one) => one.value), 0)
  return (
    <div className="tarn-top">
      <h3>{title}</h3>
      {items.length ? null : <p className="tarn-dim">{t('dashboard.no_samples')}</p>}
      <ol>
        {items.map((one) => (
          <li key={one.vm}>
            <RefLink kind="vm" id={one.vm} name={one.name} />
            <span className="tarn-top__value">{format(one.value)}</span>
            <span className="tarn-top__bar" aria-hidden="true">
              <span style={{ width: `${most > 0 && format(one.value) !== format(0) ? (one.value / most) * 100 : 0}%` }} />
            </span>
          </li>
        ))}
      </ol>
    </div>
  )
}

function Alarming() {
  const alarms = useAlarms()
  if (!alarms.length) return null
  return (
    <Section title={t('dashboard.attention', { count: alarms.length })} className="tarn-section--attention">
      <ul className="tarn-events">
        {alarms.slice(0, 5).map((alarm) => (
          <AlarmRow key={alarm.id} alarm={alarm} />
        ))}
      </ul>
    </Section>
  )
}

function RunningJobs() {
  const { items } = useList('job', { filter: ACTIVE, limit: 8 })
  const jobs = items.filter(isActive)
  return (
    <Section title={t('dashboard.running_jobs')} actions={<Link to="/jobs">{t('shell.jobs_history')}</Link>}>
      {jobs.length ? null : <Empty small title={t('dashboard.no_jobs')} />}
      <ul className="tarn-events">
        {jobs.map((job) => (
          <li key={job.id}>
            <div className="tarn-grow">
              <Link to={`/jobs/${job.id}`}>{jobTitle(job)}</Link>
              <span className="tarn-dim"> · {job.actor}</span>
            </div>
            <JobBadge job={job} />
          </li>
        ))}
      </ul>
    </Section>
  )
}

function RecentEvents() {
  const { items } = useList('event', { limit: 8 })
  return (
    <Section title={t('dashboard.recent_events')} actions={<Link to="/events">{t('shell.all_events')}</Link>}>
      <ul className="tarn-events">
        {items.map((event) => (
          <li key={event.id}>
            <StateIcon state={event.severity} label={enumLabel('Severity', event.severity)} />
            <div>
              <div title={event.message}>{eventText(event)}</div>
              <div className="tarn-dim">
                <Time value={event.time} /> · <ObjectRefLink object={event.object} gone={event.kind.endsWith('.deleted')} /> · {event.actor}
              </div>
            </div>
          </li>
        ))}
      </ul>
    </Section>
  )
}

/** What to do first where there is nothing yet. */
function FirstSteps({ summary }: { summary: Summary }) {
  const templates = useList('template', { limit: 1 })
  if (total(summary.vms)) return null
  const steps: [done: boolean, text: string, to: string, operation: string][] = [
    [total(summary.servers) > 0, t('dashboard.first_server'), '/servers', 'server_token_create'],
    [total(summary.repositories) > 0, t('dashboard.first_repository'), '/repositories', 'repository_create'],
    [templates.items.length > 0, t('dashboard.first_template'), '/templates', 'template_create'],
    [false, t('dashboard.first_vm'), '/vms', 'vm_create'],
  ]
  return (
    <Section title={t('dashboard.first_steps')}>
      <ol className="tarn-events">
        {steps
          .filter(([, , , operation]) => can(operation))
          .map(([done, text, to]) => (
            <li key={to}>
              <StateIcon state={done ? 'done' : 'pending'} label={t(done ? 'ui.yes' : 'ui.no')} />
              <Link to={to}>{text}</Link>
            </li>
          ))}
      </ol>
    </Section>
  )
}

export function Component() {
  const { value: summary, error } = usePolled((signal) => call('summary', { signal }), EVERY_MS, [])
  return (
    <Page title={t('shell.dashboard')}>
      {error && !summary ? <ErrorAlert error={error} /> : null}
      <Alarming />
      {summary ? (
        <>
          <FirstSteps summary={summary} />
          <div className="tarn-dashboard">
            <Section title={t('dashboard.health')}>
              <div className="tarn-healths">
                <Health kind="server" plural="servers" schema="ServerState" states={summary.servers} />
                <Health kind="vm" plural="vms" schema="VmState" states={summary.vms} />
                <Health kind="repository" plural="repositories" schema="ObjectState" states={summary.repositories} />
              </div>
              <Pools />
            </Section>
            <Section title={t('dashboard.capacity')}>
              <Capacity summary={summary} />
            </Section>
          </div>
          <Section title={t('dashboard.top')}>
            <div className="tarn-tops">
              <Top title={t('dashboard.cpu')} items={summary.top_cpu} format={(v) => t('dashboard.cpus_short', { n: number(v, 2) })} />
              <Top title={t('dashboard.memory')} items={summary.top_memory} format={size} />
              <Top title={t('dashboard.disk')} items={summary.top_disk} format={rate} />
              <Top title={t('dashboard.network')} items={summary.top_network} format={rate} />
            </div>
          </Section>
        </>
      ) : error ? null : (
        <Loading />
      )}
      <div className="tarn-dashboard">
        <RunningJobs />
        <RecentEvents />
      </div>
    </Page>
  )
}
