// SPDX-License-Identifier: Apache-2.0
// What each role may do, from the description of the API itself.
import CheckIcon from '@patternfly/react-icons/dist/esm/icons/check-icon'
import { description, roles, type Operation } from '@/api/description'
import { enumLabel, t } from '@/i18n'
import { Section } from '@/ui/Properties'
import { SimpleTable } from '@/ui/SimpleTable'
import { Dash } from '@/ui/text'

interface Permission {
  name: string
  roles: readonly string[]
  calls: string[]
}

export function permissions(operations: Record<string, Operation>): Permission[] {
  const byName = new Map<string, Permission>()
  for (const operation of Object.values(operations)) {
    if (operation.permission === 'none' || operation.permission === 'self') continue
    const known = byName.get(operation.permission) ?? { name: operation.permission, roles: operation.roles, calls: [] }
    known.calls.push(`${operation.method} ${operation.path}`)
    byName.set(operation.permission, known)
  }
  return [...byName.values()].sort((a, b) => a.name.localeCompare(b.name))
}

export function Roles() {
  return (
    <Section>
      <p className="tarn-dim tarn-gap-bottom">{t('users.roles_text')}</p>
      <SimpleTable
        label={t('users.roles')}
        head={[t('users.permission'), ...roles.map((role) => enumLabel('Role', role)), t('users.calls')]}
        rows={permissions(description).map((one) => [
          <code key="p">{one.name}</code>,
          ...roles.map((role) => (one.roles.includes(role) ? <CheckIcon key={role} aria-label={t('ui.yes')} role="img" /> : <Dash key={role} />)),
          <span key="c" className="tarn-dim">
            {one.calls.join(', ')}
          </span>,
        ])}
      />
    </Section>
  )
}
