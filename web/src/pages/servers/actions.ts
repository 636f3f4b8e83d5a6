// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'
import { removedToast } from './removed'

export const actions = defineActions('server', [
  { id: 'server.maintenance', operation: 'server_maintenance', hide: true, enabled: (server) => server.maintenance === 'off', dialog: () => import('./Maintenance') },
  { id: 'server.maintenance_off', operation: 'server_maintenance', primary: true, hide: true, bulk: true, confirm: 'yes', enabled: (server) => server.maintenance !== 'off', request: () => ({ body: { on: false } }) },
  { id: 'server.edit', operation: 'server_change', dialog: () => import('./ServerEdit') },
  { id: 'server.addresses', operation: 'server_change', dialog: () => import('./AddressesEdit') },
  { id: 'server.fencing', operation: 'server_change', dialog: () => import('./FenceEdit') },
  { id: 'server.fence', operation: 'server_fence', hide: true, danger: true, enabled: (server) => !!server.fence?.agent, dialog: () => import('./FenceNow') },
  { id: 'server.delete', operation: 'server_delete', danger: true, separated: true, confirm: 'name', after: '/servers', enabled: (server) => server.state === 'offline' },
  {
    id: 'server.delete_lost_server',
    operation: 'server_delete',
    danger: true,
    hide: true,
    confirm: 'name',
    after: '/servers',
    enabled: (server) => server.state === 'offline',
    request: () => ({ query: { force: 'true' } }),
    told: removedToast,
  },
])
