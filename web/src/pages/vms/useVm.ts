// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'react'
import { ApiError, call } from '@/api/client'
import { useObject } from '@/live/hooks'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** A virtual machine, live, by its id or (in addresses that people type or keep) its name. */
export function useVm(idOrName: string | undefined) {
  const byId = idOrName && UUID.test(idOrName) ? idOrName : undefined
  const [found, setFound] = useState<{ name: string; id?: string; error?: ApiError }>()
  useEffect(() => {
    if (!idOrName || byId) return
    const abort = new AbortController()
    call('vm_show', { params: { vm: idOrName }, query: { fields: 'id' }, signal: abort.signal }).then(
      (vm) => setFound({ name: idOrName, id: vm.id }),
      (error: unknown) => abort.signal.aborted || setFound({ name: idOrName, error: error instanceof ApiError ? error : new ApiError(0, 'internal', String(error)) }),
    )
    return () => abort.abort()
  }, [idOrName, byId])
  const mine = found?.name === idOrName ? found : undefined
  const state = useObject('vm', byId ?? mine?.id)
  return mine?.error ? { gone: mine.error.status === 404, error: mine.error } : state
}
