// SPDX-License-Identifier: Apache-2.0
import { Divider, Dropdown, DropdownGroup, DropdownItem, DropdownList, MenuToggle } from '@patternfly/react-core'
import UserIcon from '@patternfly/react-icons/dist/esm/icons/user-icon'
import { lazy, Suspense, useState } from 'react'
import { signOut, useSession } from '@/api/session'
import { currentLanguage, enumLabel, languages, setLanguage, t } from '@/i18n'
import { chosenTheme, setTheme, type Theme } from './theme'

const ChangePassword = lazy(() => import('./ChangePassword'))
const THEMES: Theme[] = ['light', 'dark', 'system']

export function UserMenu() {
  const { user, role } = useSession()
  const [open, setOpen] = useState(false)
  const [password, setPassword] = useState(false)
  const [theme, showTheme] = useState(chosenTheme())
  return (
    <>
      <Dropdown
        isOpen={open}
        onSelect={() => setOpen(false)}
        onOpenChange={setOpen}
        popperProps={{ position: 'end' }}
        toggle={(ref) => (
          <MenuToggle ref={ref} variant="plainText" icon={<UserIcon />} isExpanded={open} onClick={() => setOpen(!open)} aria-label={t('shell.user_menu', { user })}>
            {user}
          </MenuToggle>
        )}
      >
        <DropdownGroup label={enumLabel('Role', role)}>
          <DropdownList>
            <DropdownItem onClick={() => setPassword(true)}>{t('shell.change_password')}</DropdownItem>
            <DropdownItem onClick={() => void signOut()}>{t('shell.sign_out')}</DropdownItem>
          </DropdownList>
        </DropdownGroup>
        <Divider />
        <DropdownGroup label={t('shell.language')}>
          <DropdownList>
            {languages.map((one) => (
              <DropdownItem key={one.id} isSelected={one.id === currentLanguage()} onClick={() => void setLanguage(one.id)} lang={one.tag}>
                {one.name}
              </DropdownItem>
            ))}
          </DropdownList>
        </DropdownGroup>
        <Divider />
        <DropdownGroup label={t('shell.theme')}>
          <DropdownList>
            {THEMES.map((one) => (
              <DropdownItem
                key={one}
                isSelected={one === theme}
                onClick={() => {
                  setTheme(one)
                  showTheme(one)
                }}
              >
                {t(`shell.theme_${one}`)}
              </DropdownItem>
            ))}
          </DropdownList>
        </DropdownGroup>
      </Dropdown>
      {password ? (
        <Suspense fallback={null}>
          <ChangePassword onClose={() => setPassword(false)} />
        </Suspense>
      ) : null}
    </>
  )
}
