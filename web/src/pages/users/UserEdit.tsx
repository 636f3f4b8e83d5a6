// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

export default function UserEdit({ objects: [user], onClose }: DialogProps<'user'>) {
  return (
    <OperationDialog
      operation="user_change"
      title={t('users.edit', { name: user.name })}
      button={t('ui.save')}
      params={{ user: user.id! }}
      shownParams={{ user: user.name }}
      ifMatch={user.revision}
      initial={{ full_name: user.full_name, role: user.role }}
      onClose={onClose}
    >
      {(form) => (
        <>
          <Field form={form} path="full_name" />
          <Field form={form} path="role" />
          <Field form={form} path="password" type="password" autoComplete="new-password" help={t('users.password_help')} />
        </>
      )}
    </OperationDialog>
  )
}
