// SPDX-License-Identifier: Apache-2.0
import { Alert } from '@patternfly/react-core'
import type { Vm } from '@/api/types'
import { t } from '@/i18n'
import { Reason } from '@/ui/Reason'

/** Highly available where that does nothing: said where one looks, and where one has just made it so. */
export function Unguarded({ vm }: { vm: Vm }) {
  if (!vm.ha?.enabled || !vm.guarded_reason) return null
  return (
    <Alert isInline variant="warning" title={t('vms.unguarded')} className="tarn-gap-bottom">
      {t('vms.unguarded_text')} <Reason text={vm.guarded_reason} />
    </Alert>
  )
}
