// SPDX-License-Identifier: Apache-2.0
// Who may do what: users, what each role allows, tokens and sessions, and who did what.
import { Button } from '@patternfly/react-core'
import { useState } from 'react'
import { can, session } from '@/api/session'
import { enumLabel, kindLabel, t } from '@/i18n'
import { not } from '@/live/match'
import { eventText } from '@/ui/events'
import { ObjectTable } from '@/ui/ObjectTable'
import { OperationDialog } from '@/ui/OperationDialog'
import { Field } from '@/ui/Field'
import { Page } from '@/ui/Page'
import { Section } from '@/ui/Properties'
import { RefLink, StateLabel, Time } from '@/ui/text'
import { Roles } from './Roles'
import { TokenCreate } from './TokenCreate'

function Users() {
  const [creating, setCreating] = useState(false)
  return (
    <Section>
      <ObjectTable
        kind="user"
        tools={can('user_create') ? <Button onClick={() => setCreating(true)}>{t('users.create')}</Button> : undefined}
        columns={[
          { key: 'name', sort: 'name', width: 25 },
          { key: 'full_name', sort: 'full_name', width: 30 },
          { key: 'role', choose: true, render: (user) => enumLabel('Role', user.role) },
          { key: 'created', sort: 'created', render: (user) => <Time value={user.created} /> },
        ]}
      />
      {creating ? (
        <OperationDialog operation="user_create" title={t('users.create')} button={t('ui.create')} onClose={() => setCreating(false)}>
          {(form) => (
            <>
              <Field form={form} path="name" />
              <Field form={form} path="full_name" />
              <Field form={form} path="role" />
              <Field form={form} path="password" type="password" autoComplete="new-password" />
            </>
          )}
        </OperationDialog>
      ) : null}
    </Section>
  )
}

function Tokens() {
  const [creating, setCreating] = useState(false)
  return (
    <Section>
      <ObjectTable
        kind="token"
        tools={<Button onClick={() => setCreating(true)}>{t('users.create_token')}</Button>}
        columns={[
          { key: 'name', sort: 'name', width: 30, render: (token) => (token.kind !== 'session' ? token.name : t(token.id === session().tokenId ? 'users.this_session' : 'users.a_session', { id: token.name.split('-').pop()! })) },
          { key: 'kind', choose: true, render: (token) => enumLabel('TokenKind', token.kind) },
          { key: 'user', render: (token) => <RefLink kind="user" id={token.user} /> },
          { key: 'created', sort: 'created', render: (token) => <Time value={token.created} /> },
          { key: 'expires', sort: 'expires', render: (token) => <Time value={token.expires} /> },
        ]}
      />
      {creating ? <TokenCreate onClose={() => setCreating(false)} /> : null}
    </Section>
  )
}

function Audit() {
  return (
    <Section>
      <p className="tarn-dim tarn-gap-bottom">{t('users.audit_text')}</p>
      <ObjectTable
        kind="event"
        filter={[not('actor', 'tarn')]}
        search="actor"
        actions={false}
        columns={[
          { key: 'time', width: 15, render: (event) => <Time value={event.time} /> },
          { key: 'actor', width: 15 },
          { key: 'severity', choose: true, render: (event) => <StateLabel compact schema="Severity" state={event.severity} /> },
          { key: 'kind', wide: true, render: (event) => <code>{event.kind}</code> },
          { key: 'message', width: 45, render: eventText },
        ]}
      />
    </Section>
  )
}

export function Component() {
  return (
    <Page
      title={t('users.title')}
      base="/users"
      tabs={[
        { id: '', title: kindLabel('user', true), content: () => <Users /> },
        { id: 'roles', title: t('users.roles'), content: () => <Roles /> },
        { id: 'tokens', title: t('users.tokens'), content: () => <Tokens /> },
        { id: 'audit', title: t('users.audit'), content: () => <Audit /> },
      ]}
    />
  )
}
