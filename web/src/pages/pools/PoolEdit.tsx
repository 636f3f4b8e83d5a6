// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { schemas } from '@/api/description'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'
import { PoolFields } from './fields'

export default function PoolEdit({ objects: [pool], onClose }: DialogProps<'pool'>) {
  const values = pool as unknown as Record<string, unknown>
  const initial = Object.fromEntries(Object.entries(schemas.Pool.fields).flatMap(([name, field]) => (field.change && !field.input ? [[name, values[name]]] : [])))
  return (
    <OperationDialog
      wide
      operation="pool_change"
      title={t('pools.edit', { name: pool.name })}
      button={t('ui.save')}
      params={{ pool: pool.id! }}
      shownParams={{ pool: pool.name }}
      ifMatch={pool.revision}
      initial={initial}
      onClose={onClose}
    >
      {(form) => <PoolFields form={form} />}
    </OperationDialog>
  )
}
