// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'

export const actions = [
  ...defineActions('repository', [
    { id: 'repository.edit', operation: 'repository_change', dialog: () => import('./RepositoryEdit') },
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
