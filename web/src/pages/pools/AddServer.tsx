// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { eq } from '@/live/match'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

export default function AddServer({ objects: [pool], onClose }: DialogProps<'pool'>) {
  return (
    <OperationDialog operation="pool_add" title={t('pools.add_to', { name: pool.name })} button={t('ui.add')} params={{ pool: pool.id! }} shownParams={{ pool: pool.name }} onClose={onClose}>
      {(form) => <Field form={form} path="server" filter={[eq('pool', '')]} help={t('pools.add_help')} />}
    </OperationDialog>
  )
}
