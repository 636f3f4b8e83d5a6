// SPDX-License-Identifier: Apache-2.0
import { kindLabel } from '@/i18n'
import { Page } from '@/ui/Page'
import { DiskTable } from './DiskTable'

export function Component() {
  return (
    <Page title={kindLabel('disk', true)}>
      <DiskTable />
    </Page>
  )
}
