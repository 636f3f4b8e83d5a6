// SPDX-License-Identifier: Apache-2.0
import { Bullseye, EmptyState, EmptyStateActions, EmptyStateBody, EmptyStateFooter, Spinner } from '@patternfly/react-core'
import type { ComponentType, ReactNode } from 'react'
import { t } from '@/i18n'

interface Props {
  title: string
  text?: ReactNode
  icon?: ComponentType
  actions?: ReactNode
  small?: boolean
}

export function Empty({ title, text, icon, actions, small }: Props) {
  return (
    <EmptyState titleText={title} icon={icon} variant={small ? 'xs' : 'sm'} headingLevel="h2">
      {text ? <EmptyStateBody>{text}</EmptyStateBody> : null}
      {actions ? (
        <EmptyStateFooter>
          <EmptyStateActions>{actions}</EmptyStateActions>
        </EmptyStateFooter>
      ) : null}
    </EmptyState>
  )
}

export function Loading() {
  return (
    <Bullseye className="tarn-loading">
      <Spinner size="lg" aria-label={t('ui.loading')} />
    </Bullseye>
  )
}
