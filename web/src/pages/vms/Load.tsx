// SPDX-License-Identifier: Apache-2.0
// What a virtual machine took of its server over the last hour or day.
import { ToggleGroup, ToggleGroupItem } from '@patternfly/react-core'
import { useMemo, useState } from 'react'
import { call } from '@/api/client'
import { enums } from '@/api/description'
import type { MetricHistory, Vm } from '@/api/types'
import { enumLabel, fieldLabel, t } from '@/i18n'
import { number, rate, size } from '@/i18n/format'
import { usePolled } from '@/live/hooks'
import { Chart } from '@/ui/Chart'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Section } from '@/ui/Properties'
import { withGaps } from './gaps'

type Measure = 'cpu' | 'memory' | 'disk_read' | 'disk_write' | 'net_receive' | 'net_send'
const CHARTS: [id: string, measures: Measure[]][] = [
  ['cpu', ['cpu']],
  ['memory', ['memory']],
  ['disk', ['disk_read', 'disk_write']],
  ['network', ['net_receive', 'net_send']],
]
const EVERY: Record<string, number> = { '1h': 10000 }

function format(id: string) {
  if (id === 'cpu') return (n: number) => number(n, 2)
  return id === 'memory' ? size : rate
}

function One({ vm, id, measures, history }: { vm: Vm; id: string; measures: Measure[]; history: MetricHistory }) {
  const { times, values } = useMemo(() => withGaps(history.times, history.step, measures.map((name) => history[name])), [history, measures])
  const title = t(`vms.load_${id}`)
  const known = measures.some((name) => history[name]?.length)
  return (
    <Section title={title}>
      {known ? (
        <Chart label={title} height={150} times={times} max={id === 'cpu' ? vm.cpus : id === 'memory' ? vm.memory : undefined} format={format(id)} series={measures.map((name, i) => ({ label: fieldLabel('VmStats', name), values: values[i] }))} />
      ) : (
        <span className="tarn-dim">{t(history.times.length ? 'vms.load_unknown' : 'vms.load_none')}</span>
      )}
    </Section>
  )
}

export function Load({ vm }: { vm: Vm }) {
  const [range, setRange] = useState(enums.MetricRange[0])
  const { value, error } = usePolled((signal) => call('vm_metrics', { params: { vm: vm.id! }, query: { range }, signal }), EVERY[range] ?? 60000, [vm.id, range])
  return (
    <>
      <div className="tarn-bar">
        <h2 className="tarn-bar__title">{t('vms.load')}</h2>
        <ToggleGroup isCompact aria-label={t('vms.load_range')}>
          {enums.MetricRange.map((one) => (
            <ToggleGroupItem key={one} text={enumLabel('MetricRange', one)} isSelected={range === one} onChange={() => setRange(one)} />
          ))}
        </ToggleGroup>
      </div>
      {value ? null : <ErrorAlert error={error} />}
      {value ? (
        <div className="tarn-charts">
          {CHARTS.map(([id, measures]) => (
            <One key={id} vm={vm} id={id} measures={measures} history={value} />
          ))}
        </div>
      ) : null}
    </>
  )
}
