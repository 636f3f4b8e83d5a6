// SPDX-License-Identifier: Apache-2.0
import { Button, Content, Form, FormGroup, FormHelperText, HelperText, HelperTextItem, Modal, ModalBody, ModalFooter, ModalHeader, TextInput } from '@patternfly/react-core'
import { useState } from 'react'
import { call } from '@/api/client'
import { session, signIn } from '@/api/session'
import { t } from '@/i18n'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { useForm } from '@/ui/form'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { useSubmit } from '@/ui/submit'
import { useToasts } from '@/ui/Toasts'

/** One's own. The change ends all sessions of the user, so this one signs in again at once. */
export default function ChangePassword({ onClose }: { onClose: () => void }) {
  const { user } = session()
  const form = useForm('User', 'change', {})
  const [again, setAgain] = useState('')
  const toasts = useToasts()
  const password = String(form.get('password') ?? '')
  const differs = again !== '' && again !== password
  const ready = !!password && again === password
  const send = async () => {
    await call('user_change', { params: { user }, body: { password } })
    await signIn(user, password)
    toasts.add({ variant: 'success', title: t('shell.password_changed') })
    onClose()
  }
  const { busy, submit, onSubmit } = useSubmit(form, send, { ready })
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-labelledby="password-title">
      <ModalHeader title={t('shell.change_password')} labelId="password-title" />
      <ModalBody>
        <ErrorAlert error={form.problem} />
        <Content component="p">{t('shell.change_password_text')}</Content>
        <Form noValidate onSubmit={onSubmit}>
          <Field form={form} path="password" type="password" autoComplete="new-password" label={t('shell.new_password')} />
          <FormGroup label={t('shell.repeat_password')} fieldId="password-again">
            <TextInput id="password-again" type="password" value={again} onChange={(_e, v) => setAgain(v)} validated={differs ? 'error' : 'default'} autoComplete="new-password" />
            {differs ? (
              <FormHelperText>
                <HelperText isLiveRegion>
                  <HelperTextItem variant="error">{t('shell.passwords_differ')}</HelperTextItem>
                </HelperText>
              </FormHelperText>
            ) : null}
          </FormGroup>
          <button type="submit" hidden tabIndex={-1} />
        </Form>
        <ShowAsCommand operation="user_change" params={{ user }} body={{ password: '…' }} />
      </ModalBody>
      <ModalFooter>
        <Button variant="primary" isLoading={busy} isDisabled={busy || !ready} onClick={() => void submit()}>
          {t('shell.change_password')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
