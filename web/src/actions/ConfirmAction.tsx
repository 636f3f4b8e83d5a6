// SPDX-License-Identifier: Apache-2.0
import type { Kind, Kinds } from '@/api/types'
import { hasText, t } from '@/i18n'
import { Confirm } from '@/ui/Confirm'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { actionName, nameOf, type Action } from './index'

interface Props {
  action: Action
  objects: Kinds[Kind][]
  onClose: () => void
  perform: (action: Action, objects: Kinds[Kind][]) => Promise<unknown>
}

export default function ConfirmAction({ action, objects, onClose, perform }: Props) {
  const names = objects.map((o) => nameOf(action.kind, o))
  const many = objects.length > 1
  const key = `action.${action.id}`
  const ask = action.confirm === 'name' ? `${key}_lost` : `${key}_ask`
  const { params, query, body } = action.request?.(objects[0] as never) ?? {}
  return (
    <Confirm
      title={many ? t('ui.action_many', { action: actionName(action), count: objects.length }) : t('ui.action_for', { action: actionName(action), name: names[0] })}
      text={hasText(ask) ? t(ask) : undefined}
      names={names}
      typed={action.confirm === 'name'}
      danger={action.danger}
      button={actionName(action)}
      onClose={onClose}
      onConfirm={async () => {
        onClose()
        await perform(action, objects)
      }}
    >
      <ShowAsCommand operation={action.operation} params={{ [action.kind]: (objects[0] as { name?: string }).name ?? objects[0].id!, ...params }} query={query} body={body} />
    </Confirm>
  )
}
