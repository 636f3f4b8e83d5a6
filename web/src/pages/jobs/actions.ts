// SPDX-License-Identifier: Apache-2.0
import { defineActions } from '@/actions'
import { canAbort, canUndo } from '@/ui/jobs'

export const actions = defineActions('job', [
  { id: 'job.abort', operation: 'job_abort', primary: true, confirm: 'yes', danger: true, hide: true, enabled: canAbort },
  { id: 'job.undo', operation: 'job_undo', primary: true, confirm: 'yes', hide: true, enabled: canUndo },
])
