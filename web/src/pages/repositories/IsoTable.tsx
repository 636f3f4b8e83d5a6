// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import { lazy, Suspense, useState } from 'react'
import { Link } from 'react-router-dom'
import { can } from '@/api/session'
import { t } from '@/i18n'
import type { Term } from '@/live/match'
import { Empty } from '@/ui/Empty'
import { ObjectTable } from '@/ui/ObjectTable'
import { Section } from '@/ui/Properties'
import { RefLink, Size, StateLabel, Time } from '@/ui/text'

const ImageImport = lazy(() => import('./ImageImport'))

export function IsoTable({ filter, repository }: { filter?: Term[]; repository?: string }) {
  const [importing, setImporting] = useState(false)
  const tools = can('iso_create') ? <Button onClick={() => setImporting(true)}>{t('images.import_iso')}</Button> : undefined
  return (
    <Section>
      <ObjectTable
        kind="iso"
        filter={filter}
        tools={tools}
        empty={<Empty small title={t('isos.none')} text={t('isos.none_text')} actions={tools} />}
        columns={[
          { key: 'name', sort: 'name', width: 30, render: (iso) => <Link to={`/isos/${iso.id}`}>{iso.name}</Link> },
          { key: 'state', choose: true, render: (iso) => <StateLabel compact schema="ObjectState" state={iso.state} /> },
          { key: 'size', sort: 'size', render: (iso) => <Size value={iso.size} /> },
          { key: 'label' },
          ...(repository ? [] : [{ key: 'repository', render: (iso: { repository?: string }) => <RefLink kind="repository" id={iso.repository} /> }]),
          { key: 'created', sort: 'created', wide: true, render: (iso) => <Time value={iso.created} /> },
        ]}
      />
      <Suspense fallback={null}>{importing ? <ImageImport kind="iso" repository={repository} onClose={() => setImporting(false)} /> : null}</Suspense>
    </Section>
  )
}
