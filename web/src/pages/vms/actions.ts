// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'

export const actions = defineActions('vm', [
  { id: 'vm.start', operation: 'vm_start', primary: true, bulk: true, enabled: (vm) => vm.state === 'stopped' || vm.state === 'crashed' },
  { id: 'vm.stop', operation: 'vm_stop', primary: true, bulk: true, enabled: (vm) => vm.state === 'running' },
  { id: 'vm.restart', operation: 'vm_restart', bulk: true, enabled: (vm) => vm.state === 'running' },
  { id: 'vm.suspend', operation: 'vm_suspend', bulk: true, enabled: (vm) => vm.state === 'running' },
  { id: 'vm.resume', operation: 'vm_resume', primary: true, bulk: true, enabled: (vm) => vm.state === 'suspended' },
  { id: 'vm.kill', operation: 'vm_kill', bulk: true, danger: true, separated: true, confirm: 'yes', enabled: (vm) => ['running', 'suspended', 'stopping', 'starting'].includes(vm.state) },
  { id: 'vm.delete', operation: 'vm_delete', bulk: true, danger: true, confirm: 'name', after: '/vms', enabled: (vm) => vm.state === 'stopped' || vm.state === 'crashed' },
])
