// SPDX-License-Identifier: Apache-2.0
// What a server or a virtual machine used in the last hour or day.
import { ToggleGroup, ToggleGroupItem } from '@patternfly/react-core'
import { useState } from 'react'
import { enums } from '@/api/description'
import type { MetricHistory } from '@/api/types'
import { enumLabel, t } from '@/i18n'
import { number, rate, size } from '@/i18n/format'
import { usePolled } from '@/live/hooks'
import { Chart, type Series } from './Chart'
import { ErrorAlert } from './ErrorAlert'
import { withGaps } from './gaps'
import { Section } from './Properties'

type MetricRange = '1h' | '24h'
const EVERY_MS: Record<MetricRange, number> = { '1h': 10000, '24h': 60000 }

interface Props {
  /** Of what: asked again when it changes. */
  id: string
  ask: (range: MetricRange, signal: AbortSignal) => Promise<MetricHistory>
  cpus?: number
  memory?: number
}

export function MetricCharts({ id, ask, cpus, memory }: Props) {
  const [range, setRange] = useState<MetricRange>('1h')
  const { value, error } = usePolled((signal) => ask(range, signal), EVERY_MS[range], [id, range])
  const draw = (title: string, format: (n: number) => string, max: number | undefined, lines: [string, number[] | undefined][]) => {
    const known = lines.filter((line): line is [string, number[]] => !!line[1]?.length)
    const { times, lists } = withGaps(value?.times ?? [], known.map(([, list]) => list), value?.step ?? 10)
    const series: Series[] = known.map(([label], index) => ({ label, values: lists[index] }))
    return (
      <Section title={title}>
        {known.length ? <Chart label={title} times={times} series={series} format={format} max={max} /> : <p className="tarn-dim tarn-chart__none">{t(value ? 'metrics.none' : 'ui.loading')}</p>}
      </Section>
    )
  }
  return (
    <>
      <ToggleGroup aria-label={t('metrics.range')}>
        {(enums.MetricRange as readonly MetricRange[]).map((one) => (
          <ToggleGroupItem key={one} text={enumLabel('MetricRange', one)} isSelected={range === one} onChange={() => setRange(one)} />
        ))}
      </ToggleGroup>
      {error && !value ? <ErrorAlert error={error} /> : null}
      <div className="tarn-charts">
        {draw(t('metrics.cpu'), (n) => number(n, n < 1 ? 2 : 1), cpus, [[t('metrics.cpu_used'), value?.cpu]])}
        {draw(t('metrics.memory'), size, memory, [[t('metrics.memory_used'), value?.memory]])}
        {draw(t('metrics.disk'), rate, undefined, [[t('metrics.read'), value?.disk_read], [t('metrics.written'), value?.disk_write]])}
        {draw(t('metrics.network'), rate, undefined, [[t('metrics.received'), value?.net_receive], [t('metrics.sent'), value?.net_send]])}
      </div>
    </>
  )
}
