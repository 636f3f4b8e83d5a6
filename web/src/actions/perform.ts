// SPDX-License-Identifier: Apache-2.0
import { call } from '@/api/client'
import type { Job, Kind, Kinds } from '@/api/types'
import type { Action } from './index'

/** Asks the manager for it; the job, if it becomes one. */
export async function requestAction(action: Action, object: Kinds[Kind]): Promise<Job | undefined> {
  const { params, query, body } = action.request?.(object as never) ?? {}
  const answer = (await call(action.operation, { params: params ?? { [action.kind]: object.id! }, query, body })) as Job | undefined
  return answer?.id && Array.isArray(answer.steps) ? answer : undefined
}
