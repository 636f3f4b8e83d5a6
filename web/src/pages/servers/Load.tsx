// SPDX-License-Identifier: Apache-2.0
// A server's load over the time that its page has been open.
import { useRef } from 'react'
import { call } from '@/api/client'
import type { Server, ServerStats } from '@/api/types'
import { fieldLabel, t } from '@/i18n'
import { number, rate, size } from '@/i18n/format'
import { usePolled } from '@/live/hooks'
import { Chart } from '@/ui/Chart'
import { Section } from '@/ui/Properties'

const KEEP = 120

export function Load({ server }: { server: Server }) {
  const seen = useRef<{ id: string; samples: ServerStats[] }>({ id: '', samples: [] })
  const { value } = usePolled((signal) => call('server_stats', { params: { server: server.id! }, signal }), 5000, [server.id])
  if (seen.current.id !== server.id) seen.current = { id: server.id!, samples: [] }
  const samples = seen.current.samples
  if (value?.time && samples[samples.length - 1]?.time !== value.time) samples.push(value)
  if (samples.length > KEEP) samples.shift()
  const times = samples.map((one) => Date.parse(one.time!) / 1000)
  const label = (name: string) => fieldLabel('ServerStats', name)
  const pick = (name: 'cpu' | 'memory_used' | 'disk_read' | 'disk_write' | 'net_receive' | 'net_send') => samples.map((one) => one[name] ?? null)
  return (
    <div className="tarn-charts">
      <Section title={t('servers.load_cpu')}>
        <Chart label={t('servers.load_cpu')} times={times} max={server.hardware?.cpus} format={(n) => number(n, 1)} series={[{ label: label('cpu'), values: pick('cpu') }]} />
      </Section>
      <Section title={t('servers.load_memory')}>
        <Chart label={t('servers.load_memory')} times={times} max={value?.memory_total} format={size} series={[{ label: label('memory_used'), values: pick('memory_used') }]} />
      </Section>
      <Section title={t('servers.load_disk')}>
        <Chart label={t('servers.load_disk')} times={times} format={rate} series={[{ label: label('disk_read'), values: pick('disk_read') }, { label: label('disk_write'), values: pick('disk_write') }]} />
      </Section>
      <Section title={t('servers.load_network')}>
        <Chart label={t('servers.load_network')} times={times} format={rate} series={[{ label: label('net_receive'), values: pick('net_receive') }, { label: label('net_send'), values: pick('net_send') }]} />
      </Section>
    </div>
  )
}
