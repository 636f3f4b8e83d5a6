// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'

export const actions = [
  ...defineActions('pool', [
    { id: 'pool.add', operation: 'pool_add', primary: true, dialog: () => import('./AddServer') },
    { id: 'pool.edit', operation: 'pool_change', dialog: () => import('./PoolEdit') },
    { id: 'pool.delete', operation: 'pool_delete', danger: true, separated: true, confirm: 'name', after: '/pools' },
  ]),
  ...defineActions('rule', [
    { id: 'rule.edit', operation: 'rule_change', dialog: () => import('./RuleEdit') },
    { id: 'rule.delete', operation: 'rule_delete', danger: true, separated: true, bulk: true, confirm: 'yes', after: '/pools' },
  ]),
  ...defineActions('server', [
    {
      id: 'pool.remove',
      operation: 'pool_remove',
      separated: true,
      hide: true,
      confirm: 'yes',
      enabled: (server) => !!server.pool,
      request: (server) => ({ params: { pool: server.pool! }, body: { server: server.id } }),
    },
  ]),
]
