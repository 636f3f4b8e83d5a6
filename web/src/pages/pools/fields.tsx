// SPDX-License-Identifier: Apache-2.0
import { FormSection } from '@patternfly/react-core'
import { schemas } from '@/api/description'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import type { FormState } from '@/ui/form'

/** Top-level fields and those of an object in one, as far as a client may set them. */
export const migrationFields = () => Object.entries(schemas.PoolMigration.fields).flatMap(([name, field]) => (field.create ? [`migration.${name}`] : []))

export function PoolFields({ form }: { form: FormState }) {
  const may = (name: string) => (form.creating ? schemas.Pool.fields[name]?.create : schemas.Pool.fields[name]?.change)
  const fields = (names: string[]) => names.filter(may).map((name) => <Field key={name} form={form} path={name} lines={name === 'description' ? 2 : undefined} />)
  return (
    <>
      {fields(['name', 'description', 'tags'])}
      <FormSection title={t('pools.placement')} titleElement="h3">
        {fields(['placement', 'cpu_overcommit', 'memory_overcommit', 'memory_reserve', 'cpu_baseline'])}
      </FormSection>
      <FormSection title={t('pools.availability')} titleElement="h3">
        {fields(['clustered', 'failover', 'fencing', 'admission_failures'])}
        {/* Offered once the manager has said what would be lost. */}
        {form.error('force') || form.get('force') ? fields(['force']) : null}
      </FormSection>
      <FormSection title={t('pools.migration')} titleElement="h3">
        {may('migration') ? migrationFields().map((path) => <Field key={path} form={form} path={path} />) : null}
      </FormSection>
    </>
  )
}
