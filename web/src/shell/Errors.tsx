// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import ExclamationCircleIcon from '@patternfly/react-icons/dist/esm/icons/exclamation-circle-icon'
import SearchIcon from '@patternfly/react-icons/dist/esm/icons/search-icon'
import { Link, useRouteError } from 'react-router-dom'
import { t } from '@/i18n'
import { Empty } from '@/ui/Empty'
import { useTitle } from '@/ui/Page'

/** For what does not exist, or no more. */
export function NotFound({ text }: { text?: string }) {
  useTitle(t('shell.not_found'))
  return <Empty icon={SearchIcon} title={t('shell.not_found')} text={text ?? t('shell.not_found_text')} actions={<Link to="/dashboard">{t('shell.to_dashboard')}</Link>} />
}

/** A page that has thrown, or whose script could not be loaded: after an update the old one is no longer there. */
export function RouteError() {
  const error = useRouteError()
  useTitle(t('shell.page_failed'))
  return (
    <Empty
      icon={ExclamationCircleIcon}
      title={t('shell.page_failed')}
      text={
        <>
          {t('shell.page_failed_text')} <code>{error instanceof Error ? error.message : String(error)}</code>
        </>
      }
      actions={
        <Button variant="primary" onClick={() => window.location.reload()}>
          {t('shell.reload')}
        </Button>
      }
    />
  )
}
