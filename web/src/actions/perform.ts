// SPDX-License-Identifier: Apache-2.0
import { call } from '@/api/client'
import type { Job, Kind, Kinds } from '@/api/types'
import type { Action } from './index'

/** Asks the manager for it; what it answers, and the job, if it becomes one. */
export async function requestAction(action: Action, object: Kinds[Kind]): Promise<{ job?: Job; answer: unknown }> {
  const { params, query, body } = action.request?.(object as never) ?? {}
  const answer: unknown = await call(action.operation, { params: params ?? { [action.kind]: object.id! }, query, body })
  const job = answer as Job | undefined
  return { job: job?.id && Array.isArray(job.steps) ? job : undefined, answer }
}
