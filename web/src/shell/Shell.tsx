// SPDX-License-Identifier: Apache-2.0
// The frame round every page: masthead, tree, page, job bar.
import { Button } from '@patternfly/react-core'
import BarsIcon from '@patternfly/react-icons/dist/esm/icons/bars-icon'
import { Suspense, useEffect, useRef, useState } from 'react'
import { Link, NavLink, Outlet, useLocation } from 'react-router-dom'
import { ActionHost } from '@/actions/ActionHost'
import { t } from '@/i18n'
import { Loading } from '@/ui/Empty'
import { Guard } from '@/ui/Guard'
import { isBetween, remembered } from '@/ui/remembered'
import { ToastHost } from '@/ui/Toasts'
import { Banners } from './Banners'
import { JobBar } from './JobBar'
import { navEntries, navLabel, type NavEntry } from './nav'
import { Bell, NotificationPanel, useNotifications } from './Notifications'
import { Search } from './Search'
import { SignInAgain } from './SignIn'
import { Tree } from './Tree'
import { UserMenu } from './UserMenu'

const WIDTH = 'tarn.side'
const WIDTHS = { least: 180, usual: 264, most: 520 }
const NARROW = '(max-width: 62rem)'

/** The edge between tree and page; with the arrows too. */
function Edge({ width, setWidth }: { width: number; setWidth: (width: number) => void }) {
  const limit = (n: number) => Math.round(Math.max(WIDTHS.least, Math.min(WIDTHS.most, n)))
  const from = useRef<{ x: number; width: number } | undefined>(undefined)
  return (
    <div
      className="tarn-edge"
      role="separator"
      aria-orientation="vertical"
      aria-label={t('shell.tree_width')}
      aria-valuenow={width}
      aria-valuemin={WIDTHS.least}
      aria-valuemax={WIDTHS.most}
      tabIndex={0}
      onKeyDown={(event) => {
        if (event.key === 'ArrowLeft') setWidth(limit(width - 16))
        if (event.key === 'ArrowRight') setWidth(limit(width + 16))
      }}
      onPointerDown={(event) => {
        from.current = { x: event.clientX, width }
        event.currentTarget.setPointerCapture(event.pointerId)
      }}
      onPointerMove={(event) => from.current && setWidth(limit(from.current.width + event.clientX - from.current.x))}
      onPointerUp={() => (from.current = undefined)}
    />
  )
}

function NavGroup({ group }: { group: NavEntry['group'] }) {
  const entries = navEntries(group)
  if (!entries.length) return null
  return (
    <ul className="tarn-nav">
      {entries.map((entry) => (
        <li key={entry.to}>
          <NavLink to={entry.to} className={({ isActive }) => (isActive ? 'tarn-nav__link tarn-nav__link--current' : 'tarn-nav__link')}>
            {navLabel(entry)}
          </NavLink>
        </li>
      ))}
    </ul>
  )
}

export function Shell() {
  const [width, setWidth] = useState(() => remembered(WIDTH, isBetween(WIDTHS.least, WIDTHS.most), WIDTHS.usual))
  const [side, setSide] = useState(!window.matchMedia(NARROW).matches)
  const notifications = useNotifications()
  const { pathname } = useLocation()
  const main = useRef<HTMLElement>(null)
  useEffect(() => localStorage.setItem(WIDTH, String(width)), [width])
  useEffect(() => {
    main.current?.scrollTo(0, 0)
    // On a narrow screen the tree lies over the page.
    if (window.matchMedia(NARROW).matches) setSide(false)
  }, [pathname])
  return (
    <ToastHost>
      <ActionHost>
        <div className="tarn-shell">
          <a className="tarn-skip" href="#content">
            {t('shell.skip')}
          </a>
          <Banners />
          <header className="tarn-masthead">
            <Button variant="plain" icon={<BarsIcon />} aria-label={t('shell.tree_toggle')} aria-expanded={side} onClick={() => setSide(!side)} />
            <Link to="/dashboard" className="tarn-brand">
              <img src="/tarn.svg" alt="" width="24" height="24" /> {t('shell.product')}
            </Link>
            <Search />
            <span className="tarn-grow" />
            <Bell state={notifications} />
            <UserMenu />
          </header>
          <div className="tarn-middle">
            {side ? (
              <nav className="tarn-side" aria-label={t('shell.navigation')} style={{ width }}>
                <div className="tarn-side__scroll">
                  <NavGroup group="overview" />
                  <Guard>
                    <Tree />
                  </Guard>
                  <div className="tarn-side__title">{t('shell.administration')}</div>
                  <NavGroup group="administration" />
                </div>
                <Edge width={width} setWidth={setWidth} />
              </nav>
            ) : null}
            <main id="content" className="tarn-main" ref={main} tabIndex={-1}>
              <Suspense fallback={<Loading />}>
                <Outlet />
              </Suspense>
            </main>
            {notifications.open ? (
              <Guard>
                <NotificationPanel state={notifications} />
              </Guard>
            ) : null}
          </div>
          <Guard>
            <JobBar />
          </Guard>
        </div>
        <SignInAgain />
      </ActionHost>
    </ToastHost>
  )
}
