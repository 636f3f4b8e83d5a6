// SPDX-License-Identifier: Apache-2.0
import { Alert, Button, Card, CardBody, CardTitle, Form, FormGroup, FormSelect, FormSelectOption, Modal, ModalBody, ModalHeader, TextInput } from '@patternfly/react-core'
import { useState } from 'react'
import { signIn, signOut, useSession } from '@/api/session'
import { currentLanguage, languages, setLanguage, t, type Language } from '@/i18n'
import { errorText } from '@/ui/ErrorAlert'
import { useTitle } from '@/ui/Page'
import { ApiError } from '@/api/client'

function SignInForm({ name: fixed }: { name?: string }) {
  const [name, setName] = useState(fixed ?? '')
  const [password, setPassword] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>()
  const send = async () => {
    setBusy(true)
    try {
      await signIn(name, password)
    } catch (problem) {
      setError(problem)
      setPassword('')
    } finally {
      setBusy(false)
    }
  }
  const wrong = error instanceof ApiError && error.status === 401
  return (
    <Form
      onSubmit={(event) => {
        event.preventDefault()
        void send()
      }}
    >
      {error ? <Alert variant="danger" isInline title={wrong ? t('shell.sign_in_wrong') : errorText(error)} /> : null}
      <FormGroup label={t('shell.user')} fieldId="sign-in-name">
        <TextInput id="sign-in-name" value={name} onChange={(_e, v) => setName(v)} autoComplete="username" autoFocus={!fixed} isDisabled={!!fixed} spellCheck={false} />
      </FormGroup>
      <FormGroup label={t('shell.password')} fieldId="sign-in-password">
        <TextInput id="sign-in-password" type="password" value={password} onChange={(_e, v) => setPassword(v)} autoComplete="current-password" autoFocus={!!fixed} />
      </FormGroup>
      <Button type="submit" variant="primary" isBlock isLoading={busy} isDisabled={busy || !name || !password}>
        {t('shell.sign_in')}
      </Button>
    </Form>
  )
}

/** The page before anything else. */
export function SignIn() {
  useTitle(t('shell.sign_in'))
  return (
    <main className="tarn-sign-in">
      <Card className="tarn-sign-in__card">
        <CardTitle component="h1">
          <span className="tarn-brand">
            <img src="/tarn.svg" alt="" width="32" height="32" /> {t('shell.product')}
          </span>
        </CardTitle>
        <CardBody>
          <SignInForm />
          <FormSelect className="tarn-sign-in__language" aria-label={t('shell.language')} value={currentLanguage()} onChange={(_e, v) => void setLanguage(v as Language)}>
            {languages.map((one) => (
              <FormSelectOption key={one.id} value={one.id} label={one.name} />
            ))}
          </FormSelect>
        </CardBody>
      </Card>
    </main>
  )
}

/** Before it is known who one is: the manager has not answered yet, and is asked again. */
export function NoManager() {
  useTitle('')
  return (
    <main className="tarn-sign-in">
      <Alert variant="warning" isInline title={t('error.unreachable')}>
        {t('shell.trying')}
      </Alert>
    </main>
  )
}

/** Over the page when the session has ended under way: what was typed there stays. */
export function SignInAgain() {
  const { state, user } = useSession()
  if (state !== 'expired') return null
  return (
    <Modal isOpen variant="small" aria-labelledby="again-title" onEscapePress={() => {}}>
      <ModalHeader title={t('shell.session_ended')} description={t('shell.session_ended_text')} labelId="again-title" />
      <ModalBody>
        <SignInForm name={user} />
        <Button variant="link" isBlock className="tarn-gap-top" onClick={() => void signOut()}>
          {t('shell.another_user')}
        </Button>
      </ModalBody>
    </Modal>
  )
}
