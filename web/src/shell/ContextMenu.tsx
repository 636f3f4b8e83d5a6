// SPDX-License-Identifier: Apache-2.0
// The actions of the object that was clicked with the right button, or with the menu key.
import { Menu, MenuContent, MenuItem, MenuList, Divider } from '@patternfly/react-core'
import { useEffect, useLayoutEffect, useRef, useState } from 'react'
import { createPortal } from 'react-dom'
import { useNavigate } from 'react-router-dom'
import { actionsFor, isEnabled } from '@/actions'
import { useRunAction } from '@/actions/ActionHost'
import type { Kind } from '@/api/types'
import { t } from '@/i18n'
import { useObject } from '@/live/hooks'
import { pathFor } from './paths'

export interface MenuAt {
  kind: Kind
  id: string
  name: string
  x: number
  y: number
}

export function ContextMenu({ at, onClose }: { at: MenuAt; onClose: () => void }) {
  const { object } = useObject(at.kind, at.id)
  const run = useRunAction()
  const navigate = useNavigate()
  const box = useRef<HTMLDivElement>(null)
  const [place, setPlace] = useState({ left: at.x, top: at.y })
  const actions = object ? actionsFor(at.kind).filter((action) => !action.hide || isEnabled(action, [object])) : []
  const path = pathFor(at.kind, at.id)

  useLayoutEffect(() => {
    const { width, height } = box.current!.getBoundingClientRect()
    setPlace({ left: Math.max(0, Math.min(at.x, window.innerWidth - width - 4)), top: Math.max(0, Math.min(at.y, window.innerHeight - height - 4)) })
  }, [at, actions.length])
  useEffect(() => {
    box.current?.querySelector<HTMLElement>('button:not([disabled]), a')?.focus()
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) onClose()
    }
    const key = (event: KeyboardEvent) => {
      if (event.key === 'Escape' || event.key === 'Tab') onClose()
    }
    document.addEventListener('pointerdown', outside, true)
    document.addEventListener('keydown', key, true)
    window.addEventListener('blur', onClose)
    return () => {
      document.removeEventListener('pointerdown', outside, true)
      document.removeEventListener('keydown', key, true)
      window.removeEventListener('blur', onClose)
    }
  }, [at, onClose])

  return createPortal(
    <div ref={box} className="tarn-context" style={place}>
      <Menu onSelect={onClose} aria-label={t('ui.actions_of', { name: at.name })}>
        <MenuContent>
          <MenuList>
            {path ? <MenuItem onClick={() => navigate(path)}>{t('shell.open', { name: at.name })}</MenuItem> : null}
            {actions.length ? <Divider component="li" /> : null}
            {actions.map((action) => (
              <MenuItem key={action.id} isDanger={action.danger} isDisabled={!isEnabled(action, [object])} onClick={() => run(action, [object!])}>
                {t(`action.${action.id}`)}
              </MenuItem>
            ))}
          </MenuList>
        </MenuContent>
      </Menu>
    </div>,
    document.body,
  )
}
