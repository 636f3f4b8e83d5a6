// SPDX-License-Identifier: Apache-2.0
import { Button, Divider, Dropdown, DropdownItem, DropdownList, MenuToggle } from '@patternfly/react-core'
import EllipsisVIcon from '@patternfly/react-icons/dist/esm/icons/ellipsis-v-icon'
import { useState } from 'react'
import { actionsFor, isEnabled, type Action } from '@/actions'
import { useRunAction } from '@/actions/ActionHost'
import type { Kind, Kinds } from '@/api/types'
import { t } from '@/i18n'

/** Those that are to be seen: some only where they can be done. */
function visible(actions: Action[], objects: Kinds[Kind][]) {
  return actions.filter((action) => !action.hide || isEnabled(action, objects))
}

export function actionItems(actions: Action[], objects: Kinds[Kind][], run: (action: Action) => void) {
  return visible(actions, objects)
    .flatMap((action, index) => [
      action.separated && index ? <Divider key={action.id + '-'} component="li" /> : null,
      <DropdownItem key={action.id} isDanger={action.danger} isDisabled={!isEnabled(action, objects)} onClick={() => run(action)}>
        {t(`action.${action.id}`)}
      </DropdownItem>,
    ])
}

/** The three dots with all that can be done to an object. */
export function ActionMenu<K extends Kind>({ kind, object, label }: { kind: K; object: Kinds[K]; label: string }) {
  const [open, setOpen] = useState(false)
  const run = useRunAction()
  const actions = visible(actionsFor(kind), [object])
  if (!actions.length) return null
  return (
    <Dropdown
      isOpen={open}
      onSelect={() => setOpen(false)}
      onOpenChange={setOpen}
      popperProps={{ position: 'end', appendTo: () => document.body }}
      toggle={(ref) => (
        <MenuToggle ref={ref} variant="plain" isExpanded={open} aria-label={t('ui.actions_of', { name: label })} onClick={() => setOpen(!open)} icon={<EllipsisVIcon />} />
      )}
    >
      <DropdownList>{open ? actionItems(actions, [object], (action) => run(action, [object])) : null}</DropdownList>
    </Dropdown>
  )
}

/** The buttons of a page's header: the primary actions, and the rest in a menu. */
export function ActionBar<K extends Kind>({ kind, object }: { kind: K; object: Kinds[K] }) {
  const [open, setOpen] = useState(false)
  const run = useRunAction()
  const actions = visible(actionsFor(kind), [object])
  const first = actions.filter((action) => action.primary && isEnabled(action, [object]))
  const rest = actions.filter((action) => !first.includes(action))
  return (
    <div className="tarn-actions">
      {first.map((action) => (
        <Button key={action.id} variant={action.danger ? 'danger' : 'secondary'} onClick={() => run(action, [object])}>
          {t(`action.${action.id}`)}
        </Button>
      ))}
      {rest.length ? (
        <Dropdown
          isOpen={open}
          onSelect={() => setOpen(false)}
          onOpenChange={setOpen}
          popperProps={{ position: 'end' }}
          toggle={(ref) => (
            <MenuToggle ref={ref} isExpanded={open} onClick={() => setOpen(!open)}>
              {t('ui.actions')}
            </MenuToggle>
          )}
        >
          <DropdownList>{open ? actionItems(rest, [object], (action) => run(action, [object])) : null}</DropdownList>
        </Dropdown>
      ) : null}
    </div>
  )
}
