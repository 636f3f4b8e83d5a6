// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'

export const actions = defineActions('template', [
  { id: 'template.deploy', operation: 'vm_create', primary: true, enabled: (template) => template.state === 'ready', to: (template) => `/vms/create?template=${template.id}` },
  { id: 'template.edit', operation: 'template_change', dialog: () => import('./TemplateEdit') },
  { id: 'template.delete', operation: 'template_delete', danger: true, separated: true, bulk: true, confirm: 'name', after: '/templates', enabled: (template) => template.state === 'ready' || template.state === 'unavailable' },
])
