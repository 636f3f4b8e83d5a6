// SPDX-License-Identifier: Apache-2.0
// The dialog of an operation with a body: its fields, what the API says of them, and what it would be on the command line.
import { Button, Form, Modal, ModalBody, ModalFooter, ModalHeader } from '@patternfly/react-core'
import type { ReactNode } from 'react'
import { call, type OperationId, type Params } from '@/api/client'
import { description } from '@/api/description'
import type { Operations } from '@/api/types'
import { t } from '@/i18n'
import { ErrorAlert } from './ErrorAlert'
import { Field } from './Field'
import { useForm, type Body, type FormState } from './form'
import { ShowAsCommand } from './ShowAsCommand'
import { useSubmit } from './submit'

interface Props<O extends OperationId> {
  operation: O
  title: string
  button: string
  params?: Params
  /** Names instead of ids, for the command line. */
  shownParams?: Params
  initial?: Body
  /** Fields shown one below the other; or children for a layout of one's own. */
  fields?: string[]
  children?: (form: FormState) => ReactNode
  /** What goes with every request. */
  extra?: Body
  ifMatch?: number
  danger?: boolean
  wide?: boolean
  /** onDone shows what follows; the dialog does not close the caller. */
  keepOpen?: boolean
  onDone?: (result: Operations[O]['result']) => void
  onClose: () => void
}

export function OperationDialog<O extends OperationId>(props: Props<O>) {
  const { operation, title, button, params, shownParams, initial, fields = [], children, extra, ifMatch, danger, wide, keepOpen, onDone, onClose } = props
  const [schema, mode] = description[operation].body!
  const form = useForm(schema, mode, initial)
  const body = { ...form.body, ...extra }
  const { busy, submit, onSubmit } = useSubmit(form, async () => {
    const result = await call(operation, { params, body, ifMatch })
    if (!keepOpen) onClose()
    onDone?.(result)
  })
  return (
    <Modal isOpen variant={wide ? 'medium' : 'small'} onClose={onClose} aria-labelledby="operation-title">
      <ModalHeader title={title} labelId="operation-title" />
      <ModalBody>
        <ErrorAlert error={form.problem} />
        <Form id="operation-form" noValidate onSubmit={onSubmit}>
          {fields.map((path) => (
            <Field key={path} form={form} path={path} lines={path === 'description' ? 2 : undefined} />
          ))}
          {children?.(form)}
          {/* So that Enter sends the form. */}
          <button type="submit" hidden tabIndex={-1} />
        </Form>
        <ShowAsCommand operation={operation} params={shownParams ?? params} body={body} />
      </ModalBody>
      <ModalFooter>
        <Button variant={danger ? 'danger' : 'primary'} isLoading={busy} isDisabled={busy || (mode === 'change' && !form.changed)} onClick={() => void submit()}>
          {button}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
