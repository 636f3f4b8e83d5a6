// SPDX-License-Identifier: Apache-2.0
import { Alert, Button, Modal, ModalBody, ModalFooter, ModalHeader } from '@patternfly/react-core'
import { useState } from 'react'
import type { TokenSecret } from '@/api/types'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import { Lifetime } from '@/ui/Lifetime'
import { OperationDialog } from '@/ui/OperationDialog'
import { CopyText } from '@/ui/ShowAsCommand'

export function TokenCreate({ onClose }: { onClose: () => void }) {
  const [made, setMade] = useState<TokenSecret>()
  if (made) {
    return (
      <Modal isOpen variant="medium" onClose={onClose} aria-labelledby="token-title">
        <ModalHeader title={t('users.token_made')} labelId="token-title" />
        <ModalBody>
          <Alert variant="info" isInline title={t('users.token_once')} className="tarn-gap-bottom" />
          <CopyText label={made.token?.name ?? ''} text={made.secret ?? ''} />
          <CopyText label={t('ui.api_call')} text={`curl -H "Authorization: Bearer $TARN_TOKEN" ${window.location.origin}/api/v1/vms`} />
        </ModalBody>
        <ModalFooter>
          <Button onClick={onClose}>{t('ui.close')}</Button>
        </ModalFooter>
      </Modal>
    )
  }
  return (
    <OperationDialog operation="token_create" title={t('users.create_token')} button={t('ui.create')} initial={{ lifetime: 7776000 }} onClose={onClose} keepOpen onDone={(result) => setMade(result)}>
      {(form) => (
        <>
          <p className="tarn-dim">{t('users.token_text')}</p>
          <Field form={form} path="name" />
          <Lifetime form={form} />
        </>
      )}
    </OperationDialog>
  )
}
