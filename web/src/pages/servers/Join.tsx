// SPDX-License-Identifier: Apache-2.0
// The command with which a server joins. The token is shown this once; the list behind shows the server as soon as it is there.
import { Alert, Button, Form, Modal, ModalBody, ModalFooter, ModalHeader } from '@patternfly/react-core'
import { useState } from 'react'
import { call } from '@/api/client'
import type { TokenSecret } from '@/api/types'
import { t } from '@/i18n'
import { quoted } from '@/ui/command'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { useForm } from '@/ui/form'
import { Lifetime } from '@/ui/Lifetime'
import { CopyText, ShowAsCommand } from '@/ui/ShowAsCommand'
import { useSubmit } from '@/ui/submit'
import { Time } from '@/ui/text'

export default function Join({ onClose }: { onClose: () => void }) {
  const form = useForm('Token', 'create', { uses: 1, lifetime: 86400 })
  const [made, setMade] = useState<TokenSecret>()
  const name = String(form.get('name') ?? '')
  const { busy, submit, onSubmit } = useSubmit(form, async () => setMade(await call('server_token_create', { body: form.body as never })))
  const secret = made ? (made.ca_fingerprint && !made.secret?.includes('.') ? `${made.secret}.${made.ca_fingerprint}` : made.secret) : ''
  const once = made?.token?.uses === 1
  const command = `TARN_JOIN_TOKEN=${secret} tarn-agent join --manager ${quoted(window.location.origin)}${once ? ` --name ${quoted(name)}` : ''}`
  return (
    <Modal isOpen variant="medium" onClose={onClose} aria-labelledby="join-title">
      <ModalHeader title={t('servers.join')} labelId="join-title" description={made ? undefined : t('servers.join_text')} />
      <ModalBody>
        {made ? (
          <>
            <Alert variant="info" isInline title={t('servers.join_once')} className="tarn-gap-bottom">
              {t('servers.join_until')} <Time value={made.token?.expires} />
            </Alert>
            <CopyText label={t('servers.join_command')} text={command} />
            <CopyText label={t('servers.join_then')} text="systemctl enable --now tarn-agent" />
          </>
        ) : (
          <Form noValidate onSubmit={onSubmit}>
            <ErrorAlert error={form.problem} />
            <Field form={form} path="name" label={t('servers.join_name')} help={t('servers.join_name_help')} />
            <Field form={form} path="uses" />
            <Lifetime form={form} />
            <button type="submit" hidden tabIndex={-1} />
            <ShowAsCommand operation="server_token_create" body={form.body} />
          </Form>
        )}
      </ModalBody>
      <ModalFooter>
        {made ? (
          <Button onClick={onClose}>{t('ui.close')}</Button>
        ) : (
          <>
            <Button isLoading={busy} isDisabled={busy} onClick={() => void submit()}>
              {t('servers.join_make')}
            </Button>
            <Button variant="link" onClick={onClose}>
              {t('ui.cancel')}
            </Button>
          </>
        )}
      </ModalFooter>
    </Modal>
  )
}
