// SPDX-License-Identifier: Apache-2.0
import { schemas } from '@/api/description'
import type { VmNic } from '@/api/types'
import { enumLabel, fieldLabel, t } from '@/i18n'
import { size } from '@/i18n/format'
import { Field } from '@/ui/Field'
import { Properties } from '@/ui/Properties'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { RefLink } from '@/ui/text'
import { UploadProgress } from '@/upload/UploadProgress'
import { fieldValue } from '../value'
import { hasDevice } from '../model'
import { cloudSummary, type Plan } from './plan'

function sourceText(plan: Plan) {
  if (plan.source === 'template') return plan.template?.name
  if (plan.upload) return plan.upload.file.name
  if (plan.source === 'iso') return <RefLink kind="iso" id={plan.form.get('cdrom') as string} />
  return t('vms.source_empty')
}

function disksText(plan: Plan) {
  const own = ((plan.form.get('disks') as { size?: number }[] | undefined) ?? []).map((disk, index) => (disk.size ? size(disk.size) : plan.source === 'image' && index === 0 ? t('vms.image_its_size') : ''))
  return [...(plan.template?.disks ?? []).map((disk) => size(disk.size)), ...own].filter(Boolean).join(' + ')
}

export function Review({ plan }: { plan: Plan }) {
  const { form } = plan
  const label = (name: string) => fieldLabel('Vm', name)
  const nics = (form.get('nics') as VmNic[] | undefined) ?? [{ model: 'virtio', network: 'user' } as VmNic]
  const optional = ['pool', 'server', 'repository', 'description', 'tags', 'sockets', 'machine', 'firmware', 'boot_order', 'display', 'restart_policy', 'cmdline']
    .filter((name) => form.get(name) !== undefined && form.get(name) !== '' && (name !== 'display' || hasDevice(String(form.get('machine')))))
    .map((name): [string, React.ReactNode] => [label(name), fieldValue(schemas.Vm.fields[name], form.get(name))])
  return (
    <>
      <Properties
        rows={[
          [label('name'), String(form.get('name') ?? '')],
          [plan.source === 'template' ? label('template') : t('vms.source'), sourceText(plan)],
          [label('cpus'), String(form.get('cpus') ?? schemas.Vm.fields.cpus.default)],
          [label('memory'), size(Number(form.get('memory') ?? schemas.Vm.fields.memory.default))],
          [label('disks'), disksText(plan) || t('vms.none_at_all')],
          [label('nics'), nics.length ? nics.map((nic) => enumLabel('NicModel', nic.model ?? 'virtio')).join(', ') : t('vms.none_at_all')],
          [label('cloud_init'), cloudSummary(plan)],
          ...optional,
        ]}
      />
      <Field form={form} path="start" />
      {plan.upload ? <UploadProgress upload={plan.upload} /> : null}
      <ShowAsCommand operation="vm_create" body={plan.shown} />
    </>
  )
}
