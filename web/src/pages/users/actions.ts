// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'

export const actions = [
  ...defineActions('user', [
    { id: 'user.edit', operation: 'user_change', dialog: () => import('./UserEdit') },
    { id: 'user.delete', operation: 'user_delete', danger: true, separated: true, confirm: 'name' },
  ]),
  ...defineActions('token', [{ id: 'token.delete', operation: 'token_delete', danger: true, bulk: true, confirm: 'yes' }]),
]
