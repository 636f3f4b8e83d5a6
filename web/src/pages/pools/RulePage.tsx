// SPDX-License-Identifier: Apache-2.0
// A rule is shown with the others of its pool.
import { Navigate, useParams } from 'react-router-dom'
import { useObject } from '@/live/hooks'
import { NotFound } from '@/shell/Errors'
import { Loading } from '@/ui/Empty'

export function Component() {
  const { id } = useParams()
  const { object: rule, gone } = useObject('rule', id)
  if (gone) return <NotFound />
  return rule ? <Navigate replace to={`/pools/${rule.pool}/rules`} /> : <Loading />
}
