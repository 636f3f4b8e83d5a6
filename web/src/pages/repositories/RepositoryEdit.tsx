// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { schemas } from '@/api/description'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'

export default function RepositoryEdit({ objects: [repository], onClose }: DialogProps<'repository'>) {
  const fields = ['name', 'description', 'tags', 'pool', 'servers'].filter((name) => schemas.Repository.fields[name]?.change)
  return (
    <OperationDialog
      operation="repository_change"
      title={t('repositories.edit', { name: repository.name })}
      button={t('ui.save')}
      params={{ repository: repository.id! }}
      shownParams={{ repository: repository.name }}
      ifMatch={repository.revision}
      initial={Object.fromEntries(fields.map((name) => [name, (repository as unknown as Record<string, unknown>)[name]]))}
      fields={fields}
      onClose={onClose}
    />
  )
}
