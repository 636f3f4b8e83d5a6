// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { not } from '@/live/match'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

/** One more server uses the repository. */
export default function Present({ objects: [repository], onClose }: DialogProps<'repository'>) {
  return (
    <OperationDialog
      operation="repository_present"
      title={t('repositories.present', { name: repository.name })}
      button={t('action.repository.present')}
      params={{ repository: repository.id! }}
      shownParams={{ repository: repository.name }}
      onClose={onClose}
    >
      {(form) => <Field form={form} path="server" filter={repository.presented.map((one) => not('id', one.server!))} help={t('repositories.present_help', { path: repository.path })} />}
    </OperationDialog>
  )
}
