// SPDX-License-Identifier: Apache-2.0
// The settings of a virtual machine, each group edited where it stands.
import { ActionGroup, Alert, Button, Form, HelperText, HelperTextItem, Tooltip } from '@patternfly/react-core'
import PencilAltIcon from '@patternfly/react-icons/dist/esm/icons/pencil-alt-icon'
import { useState } from 'react'
import { call } from '@/api/client'
import { useCan } from '@/api/session'
import type { Vm } from '@/api/types'
import { enumLabel, fieldLabel, t } from '@/i18n'
import { eq } from '@/live/match'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { fieldAt, getAt, useForm, type Body } from '@/ui/form'
import { Properties, Section } from '@/ui/Properties'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { useSubmit } from '@/ui/submit'
import { CloudInitSettings } from './CloudInit'
import { mayChange, settingGroups } from './model'
import { Unguarded } from './Unguarded'
import { fieldValue } from './value'

function labelOf(path: string) {
  const { schema, name } = fieldAt('Vm', path)
  return fieldLabel(schema, name)
}

/** What a field stands for while nothing is chosen, where a bare number says little. */
function shownValue(vm: Vm, path: string) {
  const { field, schema, name } = fieldAt('Vm', path)
  const value = getAt(vm, path) ?? field.default
  const zero = `vms.zero_${schema}_${name}`
  if ((value === 0 || value === -1) && schema === 'VmLimits') return <span className="tarn-dim">{t(name === 'numa_node' ? 'vms.any' : zero === 'vms.zero_VmLimits_cpu_shares' ? 'vms.usual' : 'vms.unlimited')}</span>
  return fieldValue(field, value)
}

function Editor({ vm, fields, onClose }: { vm: Vm; fields: string[]; onClose: () => void }) {
  const [initial] = useState<Body>(() => Object.fromEntries([...new Set(fields.map((path) => path.split('.')[0]))].map((name) => [name, (vm as unknown as Body)[name]])))
  const form = useForm('Vm', 'change', initial)
  const { busy, onSubmit } = useSubmit(form, async () => {
    await call('vm_change', { params: { vm: vm.id! }, body: form.body })
    onClose()
  })
  return (
    <Form noValidate isWidthLimited onSubmit={onSubmit}>
      <ErrorAlert error={form.problem} />
      {fields.map((path) => (
        <Field key={path} form={form} path={path} lines={path === 'description' ? 3 : undefined} filter={path === 'ha.after' && vm.pool ? [eq('pool', vm.pool)] : undefined} />
      ))}
      <ActionGroup>
        <Button type="submit" isLoading={busy} isDisabled={busy || !form.changed}>
          {t('vms.save')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ActionGroup>
      {form.changed ? <ShowAsCommand operation="vm_change" params={{ vm: vm.name }} body={form.body} /> : null}
    </Form>
  )
}

/** Why it can't be edited now, or nothing. */
export function lockReason(vm: Vm, fields: string[]) {
  return mayChange(vm, fields) ? undefined : t('vms.only_stopped', { state: enumLabel('VmState', vm.state) })
}

export function EditButton({ label, reason, onClick }: { label: string; reason?: string; onClick: () => void }) {
  const button = (
    <Button className="tarn-edit" variant="link" size="sm" icon={<PencilAltIcon />} aria-label={label} isAriaDisabled={!!reason} onClick={onClick}>
      {t('vms.edit')}
    </Button>
  )
  return reason ? <Tooltip content={reason}>{button}</Tooltip> : button
}

function Group({ vm, id, fields }: { vm: Vm; id: string; fields: string[] }) {
  const [editing, setEditing] = useState(false)
  const may = useCan()('vm_change')
  const title = t(`vms.group_${id}`)
  const reason = lockReason(vm, fields)
  return (
    <Section title={title} actions={may && !editing ? <EditButton label={t('vms.edit_what', { what: title })} reason={reason} onClick={() => setEditing(true)} /> : undefined}>
      {editing ? (
        <>
          {reason ? <Alert isInline variant="warning" title={reason} className="tarn-gap-bottom" /> : null}
          <Editor vm={vm} fields={fields} onClose={() => setEditing(false)} />
        </>
      ) : (
        <>
          {id === 'ha' ? <Unguarded vm={vm} /> : null}
          <Properties rows={fields.map((path) => [labelOf(path), shownValue(vm, path)])} />
        </>
      )}
    </Section>
  )
}

export function Settings({ vm }: { vm: Vm }) {
  const groups = settingGroups(vm)
  const locked = groups.some((group) => !mayChange(vm, group.fields))
  return (
    <>
      {locked ? <HelperText>
          <HelperTextItem>{t('vms.some_only_stopped')}</HelperTextItem>
        </HelperText> : null}
      <div className="tarn-grid tarn-grid--settings">
        {groups.map((group) => (
          <Group key={group.id} vm={vm} {...group} />
        ))}
        <CloudInitSettings vm={vm} />
      </div>
    </>
  )
}
