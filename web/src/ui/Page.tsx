// SPDX-License-Identifier: Apache-2.0
// The frame of every page: breadcrumbs, title with state, actions, tabs that are part of the address.
import { Breadcrumb, BreadcrumbItem, Tab, Tabs, TabTitleText, Title } from '@patternfly/react-core'
import { useEffect, type ReactNode } from 'react'
import { Link, useNavigate, useParams } from 'react-router-dom'
import { t } from '@/i18n'

export interface PageTab {
  /** The last part of the address; '' for the first one. */
  id: string
  title: string
  content: () => ReactNode
}

interface Props {
  title: string
  /** Beside the title, e.g. a StateLabel. */
  state?: ReactNode
  /** Below the title, one line. */
  subtitle?: ReactNode
  /** Where it belongs: [title, path] from the outside. */
  crumbs?: [title: string, path: string][]
  actions?: ReactNode
  /** Tabs need a route PATH/:tab? and its base here. */
  tabs?: PageTab[]
  base?: string
  children?: ReactNode
}

export function useTitle(title: string) {
  useEffect(() => {
    document.title = title ? `${title} · ${t('shell.product')}` : t('shell.product')
  }, [title])
}

export function Page({ title, state, subtitle, crumbs, actions, tabs, base, children }: Props) {
  const { tab = '' } = useParams()
  const navigate = useNavigate()
  const active = tabs?.find((one) => one.id === tab) ?? tabs?.[0]
  useTitle(active?.id ? `${title} · ${active.title}` : title)
  return (
    <div className="tarn-page">
      <header className="tarn-page__head">
        {crumbs?.length ? (
          <Breadcrumb aria-label={t('ui.breadcrumb')}>
            {crumbs.map(([text, path]) => (
              <BreadcrumbItem key={path} render={({ className, ariaCurrent }) => <Link className={className} aria-current={ariaCurrent} to={path}>{text}</Link>} />
            ))}
            <BreadcrumbItem isActive>{title}</BreadcrumbItem>
          </Breadcrumb>
        ) : null}
        <div className="tarn-page__title">
          <Title headingLevel="h1" size="xl">
            {title}
          </Title>
          {state}
          <div className="tarn-page__actions">{actions}</div>
        </div>
        {subtitle ? <div className="tarn-page__subtitle">{subtitle}</div> : null}
        {tabs ? (
          <Tabs
            className="tarn-page__tabs"
            activeKey={active?.id}
            onSelect={(_e, key) => navigate(key ? `${base}/${key}` : base!)}
            aria-label={title}
          >
            {tabs.map((one) => (
              <Tab key={one.id} eventKey={one.id} title={<TabTitleText>{one.title}</TabTitleText>} tabContentId="tarn-tab" />
            ))}
          </Tabs>
        ) : null}
      </header>
      {tabs ? (
        <div className="tarn-page__body" id="tarn-tab" role="tabpanel" aria-label={active?.title}>
          {active?.content()}
        </div>
      ) : (
        <div className="tarn-page__body">{children}</div>
      )}
    </div>
  )
}
