// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'

export const actions = defineActions('server', [
  { id: 'server.edit', operation: 'server_change', dialog: () => import('./ServerEdit') },
  { id: 'server.addresses', operation: 'server_change', dialog: () => import('./AddressesEdit') },
  { id: 'server.fencing', operation: 'server_change', dialog: () => import('./FenceEdit') },
  { id: 'server.delete', operation: 'server_delete', danger: true, separated: true, confirm: 'name', after: '/servers', enabled: (server) => server.state === 'offline' },
])
