// SPDX-License-Identifier: Apache-2.0
import { t } from '@/i18n'
import { Page } from '@/ui/Page'

export function Component() {
  return <Page title={t('shell.dashboard')} />
}
