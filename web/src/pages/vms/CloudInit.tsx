// SPDX-License-Identifier: Apache-2.0
// cloud-init: a user as a form, or whatever one likes as text. What is set can't be read again, only replaced.
import { ActionGroup, Button, Checkbox, Content, Form, FormGroup, FormHelperText, HelperText, HelperTextItem, Radio, TextArea, TextInput } from '@patternfly/react-core'
import { useState, type ReactNode } from 'react'
import { call } from '@/api/client'
import { useCan } from '@/api/session'
import type { Vm } from '@/api/types'
import { fieldLabel, t } from '@/i18n'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { useForm, type FormState } from '@/ui/form'
import { Section } from '@/ui/Properties'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { useSubmit } from '@/ui/submit'
import { cloudConfig, cloudProblem, noUser, type CloudUser } from './cloudconfig'
import { EditButton, lockReason } from './Settings'

export type CloudMode = 'none' | 'user' | 'raw'

function Row({ id, label, error, help, children }: { id: string; label: string; error?: string; help?: string; children: ReactNode }) {
  return (
    <FormGroup label={label} fieldId={id}>
      {children}
      {error || help ? (
        <FormHelperText>
          <HelperText id={id + '-help'}>
            <HelperTextItem variant={error ? 'error' : 'default'}>{error ?? help}</HelperTextItem>
          </HelperText>
        </FormHelperText>
      ) : null}
    </FormGroup>
  )
}

interface Props {
  form: FormState
  mode: CloudMode
  onMode: (mode: CloudMode) => void
  user: CloudUser
  onUser: (user: CloudUser) => void
  modes?: CloudMode[]
}

/** Writes into cloud_init of a Vm's form. */
export function CloudInitFields({ form, mode, onMode, user, onUser, modes = ['none', 'user', 'raw'] }: Props) {
  const problems = cloudProblem(user)
  const change = (next: Partial<CloudUser>) => {
    const all = { ...user, ...next }
    onUser(all)
    form.set('cloud_init', cloudConfig(all) ? { user_data: cloudConfig(all) } : undefined)
  }
  const choose = (next: CloudMode) => {
    onMode(next)
    if (next === 'none') form.set('cloud_init', undefined)
    if (next === 'user') form.set('cloud_init', cloudConfig(user) ? { user_data: cloudConfig(user) } : undefined)
  }
  return (
    <>
      <FormGroup role="radiogroup" isInline label={fieldLabel('Vm', 'cloud_init')} fieldId="cloud-mode">
        {modes.map((one) => (
          <Radio key={one} id={`cloud-${one}`} name="cloud-mode" label={t(`vms.cloud_${one}`)} isChecked={mode === one} onChange={() => choose(one)} />
        ))}
      </FormGroup>
      {mode === 'user' ? (
        <>
          <Row id="cloud-name" label={t('vms.cloud_name')} error={problems.name && t(problems.name)} help={t('vms.cloud_name_help')}>
            <TextInput id="cloud-name" value={user.name} onChange={(_e, v) => change({ name: v })} validated={problems.name ? 'error' : 'default'} aria-describedby="cloud-name-help" autoComplete="off" spellCheck={false} />
          </Row>
          <Row id="cloud-password" label={t('vms.cloud_password')} help={t('vms.cloud_password_help')}>
            <TextInput id="cloud-password" type="password" value={user.password} onChange={(_e, v) => change({ password: v })} aria-describedby="cloud-password-help" autoComplete="new-password" />
          </Row>
          {user.password ? <Checkbox id="cloud-ssh" label={t('vms.cloud_ssh_password')} isChecked={user.sshPassword} onChange={(_e, on) => change({ sshPassword: on })} /> : null}
          <Row id="cloud-keys" label={t('vms.cloud_keys')} error={problems.keys && t(problems.keys)} help={t('vms.cloud_keys_help')}>
            <TextArea id="cloud-keys" className="tarn-mono" rows={3} value={user.keys} onChange={(_e, v) => change({ keys: v })} validated={problems.keys ? 'error' : 'default'} aria-describedby="cloud-keys-help" resizeOrientation="vertical" spellCheck={false} />
          </Row>
        </>
      ) : null}
      {mode === 'raw' ? (
        <>
          <Field form={form} path="cloud_init.user_data" lines={8} />
          <Field form={form} path="cloud_init.meta_data" lines={3} />
          <Field form={form} path="cloud_init.network_config" lines={4} />
        </>
      ) : null}
    </>
  )
}

function Replace({ vm, onClose }: { vm: Vm; onClose: () => void }) {
  const form = useForm('Vm', 'change', {})
  const [mode, setMode] = useState<CloudMode>('user')
  const [user, setUser] = useState(noUser)
  // Parts that are not given are emptied: the whole is replaced.
  const cloud = (form.body.cloud_init ?? {}) as Record<string, string>
  const body = { cloud_init: { user_data: '', meta_data: '', network_config: '', ...cloud } }
  const ready = mode === 'none' || (!!form.body.cloud_init && !(mode === 'user' && Object.keys(cloudProblem(user)).length))
  const send = async () => {
    await call('vm_change', { params: { vm: vm.id! }, body })
    onClose()
  }
  const { busy, onSubmit } = useSubmit(form, send, { ready })
  return (
    <Form noValidate isWidthLimited onSubmit={onSubmit}>
      <ErrorAlert error={form.problem} />
      <CloudInitFields form={form} mode={mode} onMode={setMode} user={user} onUser={setUser} />
      <ActionGroup>
        <Button type="submit" isLoading={busy} isDisabled={busy || !ready}>
          {t('vms.cloud_replace')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ActionGroup>
      {ready ? <ShowAsCommand operation="vm_change" params={{ vm: vm.name }} body={body} /> : null}
    </Form>
  )
}

export function CloudInitSettings({ vm }: { vm: Vm }) {
  const [editing, setEditing] = useState(false)
  const may = useCan()('vm_change')
  const title = fieldLabel('Vm', 'cloud_init')
  return (
    <Section title={title} actions={may && !editing ? <EditButton label={t('vms.edit_what', { what: title })} reason={lockReason(vm, ['cloud_init'])} onClick={() => setEditing(true)} /> : undefined}>
      {editing ? <Replace vm={vm} onClose={() => setEditing(false)} /> : <Content component="p">{t('vms.cloud_secret')}</Content>}
    </Section>
  )
}
