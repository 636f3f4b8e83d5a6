// SPDX-License-Identifier: Apache-2.0
import { Masthead, MastheadBrand, MastheadContent, MastheadMain, Nav, NavItem, NavList, Page as Frame, PageSection, PageSidebar, PageSidebarBody, SkipToContent } from '@patternfly/react-core'
import { Suspense } from 'react'
import { Link, Outlet, useLocation } from 'react-router-dom'
import { ActionHost } from '@/actions/ActionHost'
import { kindLabel, t } from '@/i18n'
import { Loading } from '@/ui/Empty'
import { ToastHost } from '@/ui/Toasts'
import { Banners } from './Banners'
import { SignInAgain } from './SignIn'
import { UserMenu } from './UserMenu'

export function Shell() {
  const { pathname } = useLocation()
  return (
    <ToastHost>
      <ActionHost>
        <Frame
          className="tarn-shell"
          skipToContent={<SkipToContent href="#content">{t('shell.skip')}</SkipToContent>}
          mainContainerId="content"
          banner={<Banners />}
          masthead={
            <Masthead>
              <MastheadMain>
                <MastheadBrand>
                  <Link to="/dashboard" className="tarn-brand">
                    <img src="/tarn.svg" alt="" width="24" height="24" /> {t('shell.product')}
                  </Link>
                </MastheadBrand>
              </MastheadMain>
              <MastheadContent>
                <span className="tarn-grow" />
                <UserMenu />
              </MastheadContent>
            </Masthead>
          }
          sidebar={
            <PageSidebar>
              <PageSidebarBody>
                <Nav aria-label={t('shell.navigation')}>
                  <NavList>
                    <NavItem isActive={pathname.startsWith('/vms')}>
                      <Link to="/vms">{kindLabel('vm', true)}</Link>
                    </NavItem>
                  </NavList>
                </Nav>
              </PageSidebarBody>
            </PageSidebar>
          }
        >
          <PageSection isFilled hasBodyWrapper={false} className="tarn-main">
            <Suspense fallback={<Loading />}>
              <Outlet />
            </Suspense>
          </PageSection>
        </Frame>
        <SignInAgain />
      </ActionHost>
    </ToastHost>
  )
}
