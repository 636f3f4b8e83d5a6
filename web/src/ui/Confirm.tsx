// SPDX-License-Identifier: Apache-2.0
import { Alert, Button, Content, Form, FormGroup, List, ListItem, Modal, ModalBody, ModalFooter, ModalHeader, TextInput } from '@patternfly/react-core'
import { useState, type ReactNode } from 'react'
import { t } from '@/i18n'
import { ErrorAlert } from './ErrorAlert'

interface Props {
  title: string
  /** What it means, or what will be lost. */
  text?: ReactNode
  /** What it is about. */
  names: string[]
  /** The name (of several, how many they are) is to be typed. */
  typed?: boolean
  danger?: boolean
  button: string
  onConfirm: () => Promise<unknown> | void
  onClose: () => void
  children?: ReactNode
}

export function Confirm({ title, text, names, typed, danger, button, onConfirm, onClose, children }: Props) {
  const [value, setValue] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>()
  const wanted = names.length === 1 ? names[0] : String(names.length)
  const ready = !typed || value.trim() === wanted
  const confirm = async () => {
    if (!ready || busy) return
    setBusy(true)
    try {
      await onConfirm()
    } catch (problem) {
      setError(problem)
      setBusy(false)
    }
  }
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-labelledby="confirm-title" elementToFocus={typed ? '#confirm-name' : '#confirm-yes'}>
      <ModalHeader title={title} labelId="confirm-title" titleIconVariant={danger ? 'danger' : undefined} />
      <ModalBody>
        <ErrorAlert error={error} />
        {text ? danger ? <Alert variant="warning" isInline isPlain title={text} /> : <Content component="p">{text}</Content> : null}
        {names.length > 1 ? (
          <List className="tarn-names">
            {names.slice(0, 10).map((name) => (
              <ListItem key={name}>{name}</ListItem>
            ))}
            {names.length > 10 ? <ListItem>{t('ui.and_more', { count: names.length - 10 })}</ListItem> : null}
          </List>
        ) : null}
        {typed ? (
          <Form
            className="tarn-gap-top"
            onSubmit={(event) => {
              event.preventDefault()
              void confirm()
            }}
          >
            <FormGroup label={names.length === 1 ? t('ui.type_name', { name: wanted }) : t('ui.type_count', { count: names.length })} fieldId="confirm-name">
              <TextInput id="confirm-name" value={value} onChange={(_e, v) => setValue(v)} autoComplete="off" spellCheck={false} />
            </FormGroup>
          </Form>
        ) : null}
        {children}
      </ModalBody>
      <ModalFooter>
        <Button id="confirm-yes" variant={danger ? 'danger' : 'primary'} isDisabled={!ready} isLoading={busy} onClick={() => void confirm()}>
          {button}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}

/** The dialog before something is lost for good. */
export function ConfirmByName(props: Omit<Props, 'typed' | 'danger'>) {
  return <Confirm {...props} typed danger />
}
