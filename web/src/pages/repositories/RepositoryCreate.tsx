// SPDX-License-Identifier: Apache-2.0
import { schemas } from '@/api/description'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

export default function RepositoryCreate({ onClose }: { onClose: () => void }) {
  // A shared one is presented to the servers of a pool, where the manager knows pools.
  const shared = ['pool', 'servers'].filter((name) => schemas.Repository.fields[name]?.create)
  return (
    <OperationDialog operation="repository_create" title={t('repositories.create')} button={t('ui.create')} onClose={onClose}>
      {(form) => (
        <>
          <Field form={form} path="name" />
          <Field form={form} path="path" help={t('repositories.path_help')} />
          {shared.map((name) => (form.get('server') ? null : <Field key={name} form={form} path={name} absent={t('repositories.not_shared')} />))}
          {shared.some((name) => form.get(name)) ? null : <Field form={form} path="server" absent={t('ui.the_only')} />}
          <Field form={form} path="description" lines={2} />
        </>
      )}
    </OperationDialog>
  )
}
