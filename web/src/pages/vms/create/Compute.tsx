// SPDX-License-Identifier: Apache-2.0
import { Alert, Button, ExpandableSection, FormFieldGroup, FormFieldGroupHeader } from '@patternfly/react-core'
import PlusIcon from '@patternfly/react-icons/dist/esm/icons/plus-icon'
import TrashIcon from '@patternfly/react-icons/dist/esm/icons/trash-icon'
import { useState } from 'react'
import { fieldLabel, t } from '@/i18n'
import { size } from '@/i18n/format'
import { useList } from '@/live/hooks'
import { eq } from '@/live/match'
import { Field } from '@/ui/Field'
import type { Body } from '@/ui/form'
import type { Plan } from './plan'
import { Problem } from './Source'

function Disks({ plan, problems }: { plan: Plan; problems: Record<string, string> }) {
  const { form, source, template } = plan
  const disks = (form.get('disks') as Body[] | undefined) ?? []
  const microvm = form.get('machine') === 'microvm'
  return (
    <FormFieldGroup
      header={
        <FormFieldGroupHeader
          titleText={{ text: fieldLabel('Vm', 'disks'), id: 'create-disks' }}
          titleDescription={template?.disks?.length ? t('vms.template_disks', { sizes: template.disks.map((disk) => size(disk.size)).join(', ') }) : undefined}
          actions={
            <Button variant="link" icon={<PlusIcon />} onClick={() => form.set('disks', [...disks, { size: 20 * 2 ** 30 }])}>
              {t('vms.disk_one_more')}
            </Button>
          }
        />
      }
    >
      {disks.map((_disk, index) => {
        const image = source === 'image' && index === 0
        return (
          <div key={index} className="tarn-item">
            <Field form={form} path={`disks[${index}].size`} label={image ? t('vms.image_size') : t('vms.disk_size', { number: index + 1 })} help={image ? t('vms.image_size_help') : undefined} />
            <Field form={form} path={`disks[${index}].bus`} hide={microvm ? ['sata'] : []} />
            {image ? null : <Button variant="plain" aria-label={t('form.remove', { name: t('vms.disk_size', { number: index + 1 }) })} icon={<TrashIcon />} onClick={() => form.set('disks', disks.filter((_d, i) => i !== index))} />}
            <div className="tarn-item__problem">
              <Problem text={form.error(`disks[${index}].size`) ? undefined : problems[`disks[${index}].size`]} />
            </div>
          </div>
        )
      })}
      {!disks.length ? <span className="tarn-dim">{template?.disks?.length ? t('vms.no_more_disks') : t('vms.no_disks')}</span> : null}
    </FormFieldGroup>
  )
}

/** Where it may run; only what there is a choice of. */
function Where({ plan }: { plan: Plan }) {
  const pools = useList('pool', { limit: 1 })
  const repositories = useList('repository', { limit: 2 })
  const servers = useList('server', { limit: 2 })
  const { form, source } = plan
  const pool = form.get('pool') as string | undefined
  const many = (page: { items: unknown[]; total?: number }) => (page.total ?? page.items.length) > 1
  return (
    <>
      {pools.items.length ? <Field form={form} path="pool" absent={t('vms.by_tarn')} /> : null}
      {many(servers) ? <Field form={form} path="server" absent={t('vms.by_tarn')} filter={pool ? [eq('pool', pool)] : []} /> : null}
      {many(repositories) && source !== 'template' && !plan.upload ? <Field form={form} path="repository" absent={t('vms.by_tarn')} filter={[eq('state', 'ready')]} /> : null}
    </>
  )
}

/** What stands behind "more settings". */
const MORE = ['description', 'tags', 'sockets', 'machine', 'firmware', 'boot_order', 'display', 'restart_policy', 'cmdline']

export function Compute({ plan, tried }: { plan: Plan; tried: boolean }) {
  const { form, template } = plan
  const [more, setMore] = useState(false)
  const microvm = form.get('machine') === 'microvm'
  const problems = tried ? plan.problems.compute : {}
  const memory = Number(form.get('memory') ?? 0)
  return (
    <>
      <Field form={form} path="name" />
      <div className="tarn-pair">
        <Field form={form} path="cpus" />
        <Field form={form} path="memory" />
      </div>
      {template?.memory && memory && memory < template.memory ? <Alert isInline isPlain variant="warning" title={t('vms.memory_below', { memory: size(template.memory) })} /> : null}
      <Disks plan={plan} problems={problems} />
      <Where plan={plan} />
      <ExpandableSection toggleText={t('vms.more_settings')} isExpanded={more || MORE.some((name) => problems[name])} onToggle={(_e, open) => setMore(open)}>
        <div className="tarn-form-stack">
          <Field form={form} path="description" lines={2} />
          <Field form={form} path="tags" />
          <Field form={form} path="sockets" />
          <Field form={form} path="machine" />
          <Field form={form} path="firmware" hide={microvm ? ['uefi'] : []} />
          <Field form={form} path="boot_order" />
          {microvm ? null : <Field form={form} path="display" />}
          <Field form={form} path="restart_policy" />
          {template?.kernel ? <Field form={form} path="cmdline" /> : null}
        </div>
      </ExpandableSection>
    </>
  )
}
