// SPDX-License-Identifier: Apache-2.0
import { t } from '@/i18n'

/** Whether it is highly available, and whether that is worth something now. */
export function haText(vm: { ha?: { enabled?: boolean }; guarded?: boolean; guarded_reason?: string }): string {
  return t(!vm.ha?.enabled ? 'vms.ha_off' : vm.guarded ? 'vms.ha_on' : vm.guarded_reason ? 'vms.ha_unguarded' : 'vms.ha_stopped')
}
