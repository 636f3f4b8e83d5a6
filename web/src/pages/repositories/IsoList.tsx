// SPDX-License-Identifier: Apache-2.0
import { kindLabel } from '@/i18n'
import { Page } from '@/ui/Page'
import { IsoTable } from './IsoTable'

export function Component() {
  return (
    <Page title={kindLabel('iso', true)}>
      <IsoTable />
    </Page>
  )
}
