// SPDX-License-Identifier: Apache-2.0
// A dialog about one item of a virtual machine's list (a disk, a card): the list is changed as a whole, errors come back to the
// item's own fields.
import { Alert, Button, Form, Modal, ModalBody, ModalFooter, ModalHeader } from '@patternfly/react-core'
import { useState, type ReactNode } from 'react'
import { ApiError, call } from '@/api/client'
import type { Vm } from '@/api/types'
import { t } from '@/i18n'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { useForm, type Body, type FormState } from '@/ui/form'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { useSubmit } from '@/ui/submit'
import { lockReason } from './Settings'

interface Props {
  vm: Vm
  title: string
  button: string
  list: 'disks' | 'nics'
  index: number
  schema: string
  initial: Body
  /** The whole list with the item changed. */
  items: (item: Body) => unknown[]
  ready?: (form: FormState) => boolean
  children: (form: FormState) => ReactNode
  onClose: () => void
}

/** disks[2].bus said of the list is bus said of the item. */
function ofItem(error: unknown, list: string, index: number) {
  const prefix = `${list}[${index}]`
  if (!(error instanceof ApiError) || !error.field?.startsWith(prefix)) return error
  return new ApiError(error.status, error.code, error.message, error.field.slice(prefix.length).replace(/^\./, '') || undefined, error.detail)
}

export function ItemDialog({ vm, title, button, list, index, schema, initial, items, ready, children, onClose }: Props) {
  const [revision] = useState(vm.revision)
  const form = useForm(schema, '', initial)
  const reason = lockReason(vm, [list])
  const body = { [list]: items(form.body) }
  const able = !reason && (!ready || ready(form))
  const send = async () => {
    await call('vm_change', { params: { vm: vm.id! }, body, ifMatch: revision })
    onClose()
  }
  const { busy, submit, onSubmit } = useSubmit(form, send, { ready: able, refused: (error) => ofItem(error, list, index) })
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-labelledby="item-title">
      <ModalHeader title={title} labelId="item-title" />
      <ModalBody>
        {reason ? <Alert isInline variant="warning" title={reason} className="tarn-gap-bottom" /> : null}
        <ErrorAlert error={form.problem} />
        <Form noValidate onSubmit={onSubmit}>
          {children(form)}
          <button type="submit" hidden tabIndex={-1} />
        </Form>
        <ShowAsCommand operation="vm_change" params={{ vm: vm.name }} body={body} />
      </ModalBody>
      <ModalFooter>
        <Button isLoading={busy} isDisabled={busy || !able} onClick={() => void submit()}>
          {button}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
