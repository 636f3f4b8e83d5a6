// SPDX-License-Identifier: Apache-2.0
import type { ObjectRef } from '@/api/types'
import { isKind } from '@/api/kinds'
import { enumLabel, kindLabel } from '@/i18n'
import { RefLink } from './text'

/** What a job or an event is about. It may be gone: then its name is all that is left. */
export function ObjectRefLink({ object, withKind, gone }: { object: ObjectRef | undefined; withKind?: boolean; gone?: boolean }) {
  if (!object?.id) return <span className="tarn-dim">–</span>
  // Sessions are named by ids.
  const name = object.kind === 'token' && object.name.startsWith('session-') ? enumLabel('TokenKind', 'session') : object.name || object.id.slice(0, 8)
  return (
    <>
      {withKind ? <span className="tarn-dim">{kindLabel(object.kind)} </span> : null}
      {isKind(object.kind) && !gone ? <RefLink kind={object.kind} id={object.id} name={name} /> : name}
    </>
  )
}
