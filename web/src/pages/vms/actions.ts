// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'
import { hasConsole, hasDisplay, isStopped } from './model'

export const actions = defineActions('vm', [
  { id: 'vm.start', operation: 'vm_start', primary: true, bulk: true, enabled: isStopped },
  { id: 'vm.stop', operation: 'vm_stop', primary: true, bulk: true, enabled: (vm) => vm.state === 'running' },
  { id: 'vm.resume', operation: 'vm_resume', primary: true, bulk: true, enabled: (vm) => vm.state === 'suspended' },
  { id: 'vm.restart', operation: 'vm_restart', bulk: true, enabled: (vm) => vm.state === 'running' },
  { id: 'vm.suspend', operation: 'vm_suspend', bulk: true, enabled: (vm) => vm.state === 'running' },
  { id: 'vm.stop_within', operation: 'vm_stop', hide: true, enabled: (vm) => vm.state === 'running', dialog: () => import('./StopWithin') },
  { id: 'vm.kill', operation: 'vm_kill', bulk: true, danger: true, confirm: 'yes', enabled: (vm) => ['running', 'suspended', 'stopping', 'starting'].includes(vm.state) },
  { id: 'vm.console', operation: 'vm_console', separated: true, enabled: hasConsole, to: (vm) => `/vms/${vm.id}/${hasDisplay(vm) ? 'display' : 'serial'}` },
  { id: 'vm.migrate', operation: 'vm_migrate', bulk: true, separated: true, enabled: (vm) => vm.state === 'running' || vm.state === 'suspended', dialog: () => import('./Migrate') },
  { id: 'vm.golden', operation: 'template_create', enabled: (vm) => vm.state === 'stopped', dialog: () => import('./GoldenImage') },
  { id: 'vm.delete', operation: 'vm_delete', bulk: true, danger: true, separated: true, after: '/vms', enabled: isStopped, dialog: () => import('./DeleteVms') },
])
