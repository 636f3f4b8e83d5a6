// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'
import type { Repository } from '@/api/types'

/** To which servers a repository is presented is said one by one, unless they are those of a pool. */
const mayBePresented = (repository: Repository) => !repository.pool

export const actions = [
  ...defineActions('repository', [
    { id: 'repository.edit', operation: 'repository_change', dialog: () => import('./RepositoryEdit') },
    { id: 'repository.present', operation: 'repository_present', hide: true, enabled: mayBePresented, dialog: () => import('./Present') },
    { id: 'repository.withdraw', operation: 'repository_withdraw', hide: true, enabled: (repository) => mayBePresented(repository) && repository.presented.length > 1, dialog: () => import('./Withdraw') },
    { id: 'repository.delete', operation: 'repository_delete', danger: true, separated: true, confirm: 'name', after: '/repositories' },
  ]),
  ...defineActions('disk', [
    { id: 'disk.edit', operation: 'disk_change', dialog: () => import('./DiskEdit') },
    { id: 'disk.delete', operation: 'disk_delete', danger: true, separated: true, bulk: true, confirm: 'name', after: '/disks', enabled: (disk) => !disk.vm && disk.state === 'ready' },
  ]),
  ...defineActions('iso', [
    { id: 'iso.edit', operation: 'iso_change', dialog: () => import('./IsoEdit') },
    { id: 'iso.delete', operation: 'iso_delete', danger: true, separated: true, bulk: true, confirm: 'name', after: '/isos', enabled: (iso) => iso.state === 'ready' },
  ]),
  ...defineActions('upload', [{ id: 'upload.delete', operation: 'upload_delete', danger: true, bulk: true, confirm: 'yes' }]),
]
