// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'
import { RuleFields } from './RuleFields'

export default function RuleEdit({ objects: [rule], onClose }: DialogProps<'rule'>) {
  const { name, description, type, must, vms, tag, servers } = rule
  return (
    <OperationDialog
      operation="rule_change"
      title={t('pools.edit_rule', { name })}
      button={t('ui.save')}
      params={{ rule: rule.id! }}
      shownParams={{ rule: name }}
      ifMatch={rule.revision}
      initial={{ name, description, type, must, vms, tag, servers }}
      onClose={onClose}
    >
      {(form) => <RuleFields form={form} pool={rule.pool} />}
    </OperationDialog>
  )
}
