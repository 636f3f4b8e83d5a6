// SPDX-License-Identifier: Apache-2.0
import type { Server } from '@/api/types'
import { enumLabel, fieldLabel, t } from '@/i18n'
import { number } from '@/i18n/format'
import { Properties, Section } from '@/ui/Properties'
import { SimpleTable } from '@/ui/SimpleTable'
import { Dash, Size } from '@/ui/text'

function Devices({ server }: { server: Server }) {
  const { numa = [], nics = [], disks = [], accelerators = [] } = server.hardware ?? {}
  const title = (name: string) => fieldLabel('Hardware', name)
  return (
    <>
      {nics.length ? (
        <Section title={title('nics')}>
          <SimpleTable
            label={title('nics')}
            head={['name', 'up', 'mac', 'addresses', 'speed', 'mtu', 'driver'].map((name) => fieldLabel('HardwareNic', name))}
            rows={nics.map((nic) => [nic.name, t(nic.up ? 'ui.yes' : 'ui.no'), <code key="m">{nic.mac}</code>, (nic.addresses ?? []).join(', ') || <Dash />, nic.speed ? `${number(nic.speed)} Mbit/s` : <Dash />, nic.mtu, nic.driver || <Dash />])}
          />
        </Section>
      ) : null}
      {disks.length ? (
        <Section title={title('disks')}>
          <SimpleTable
            label={title('disks')}
            head={['name', 'model', 'size', 'rotational'].map((name) => fieldLabel('HardwareDisk', name))}
            rows={disks.map((disk) => [disk.name, disk.model || <Dash />, <Size key="s" value={disk.size} />, t(disk.rotational ? 'ui.yes' : 'ui.no')])}
          />
        </Section>
      ) : null}
      {numa.length ? (
        <Section title={title('numa')}>
          <SimpleTable label={title('numa')} head={['node', 'cpus', 'memory'].map((name) => fieldLabel('HardwareNuma', name))} rows={numa.map((node) => [node.node, node.cpus, <Size key="m" value={node.memory} />])} />
        </Section>
      ) : null}
      {accelerators.length ? (
        <Section title={title('accelerators')}>
          <SimpleTable
            label={title('accelerators')}
            head={['address', 'type', 'device', 'driver'].map((name) => fieldLabel('HardwareAccelerator', name))}
            rows={accelerators.map((one) => [<code key="a">{one.address}</code>, enumLabel('HardwareAccelerator.type', one.type ?? ''), <code key="d">{one.device}</code>, one.driver || <Dash />])}
          />
        </Section>
      ) : null}
    </>
  )
}

export function HardwareTab({ server }: { server: Server }) {
  const hardware = server.hardware
  if (!hardware?.cpus) return <Section>{t('servers.not_told')}</Section>
  const label = (name: string) => fieldLabel('Hardware', name)
  return (
    <>
      <Section title={t('servers.processor')}>
        <Properties
          columns={2}
          rows={[
            [label('cpu_model'), hardware.cpu_model],
            [label('cpus'), hardware.cpus],
            [label('sockets'), hardware.sockets],
            [label('cores'), hardware.cores],
            [label('threads'), hardware.threads],
            [label('kvm'), t(hardware.kvm ? 'ui.yes' : 'ui.no')],
            [label('memory'), <Size key="m" value={hardware.memory} />],
            [label('architecture'), hardware.architecture],
            [label('os'), hardware.os],
            [label('kernel'), hardware.kernel],
            [label('cpu_models'), hardware.cpu_models?.join(', ')],
          ]}
        />
      </Section>
      <Devices server={server} />
    </>
  )
}
