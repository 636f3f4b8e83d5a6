// SPDX-License-Identifier: Apache-2.0
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { OperationDialog } from '@/ui/OperationDialog'

export default function TemplateEdit({ objects: [template], onClose }: DialogProps<'template'>) {
  const { name, description, tags, cpus, memory, machine, firmware, cmdline } = template
  const fields = ['name', 'description', 'tags', 'cpus', 'memory', 'machine', 'firmware', ...(template.kernel ? ['cmdline'] : [])]
  return (
    <OperationDialog
      operation="template_change"
      title={t('templates.edit', { name })}
      button={t('ui.save')}
      params={{ template: template.id! }}
      shownParams={{ template: name }}
      ifMatch={template.revision}
      initial={{ name, description, tags, cpus, memory, machine, firmware, cmdline }}
      fields={fields}
      onClose={onClose}
    />
  )
}
