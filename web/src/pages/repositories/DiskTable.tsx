// SPDX-License-Identifier: Apache-2.0
import { Button } from '@patternfly/react-core'
import { lazy, Suspense, useState } from 'react'
import { Link } from 'react-router-dom'
import { can } from '@/api/session'
import { t } from '@/i18n'
import type { Term } from '@/live/match'
import { ObjectTable } from '@/ui/ObjectTable'
import { OperationDialog } from '@/ui/OperationDialog'
import { Field } from '@/ui/Field'
import { Section } from '@/ui/Properties'
import { RefLink, Size, StateLabel } from '@/ui/text'

const ImageImport = lazy(() => import('./ImageImport'))

export function DiskCreate({ repository, onClose }: { repository?: string; onClose: () => void }) {
  return (
    <OperationDialog operation="disk_create" title={t('disks.create')} button={t('ui.create')} initial={{ repository, size: 10 * 2 ** 30 }} onClose={onClose}>
      {(form) => (
        <>
          <Field form={form} path="name" />
          <Field form={form} path="size" />
          <Field form={form} path="repository" absent={t('ui.the_only')} />
          <Field form={form} path="description" lines={2} />
        </>
      )}
    </OperationDialog>
  )
}

export function DiskTable({ filter, repository }: { filter?: Term[]; repository?: string }) {
  const [creating, setCreating] = useState(false)
  const [importing, setImporting] = useState(false)
  return (
    <Section>
      <ObjectTable
        kind="disk"
        filter={filter}
        tools={
          can('disk_create') ? (
            <div className="tarn-buttons">
              <Button variant="secondary" onClick={() => setImporting(true)}>
                {t('images.import_disk')}
              </Button>
              <Button onClick={() => setCreating(true)}>{t('disks.create')}</Button>
            </div>
          ) : undefined
        }
        columns={[
          { key: 'name', sort: 'name', width: 25, render: (disk) => <Link to={`/disks/${disk.id}`}>{disk.name}</Link> },
          { key: 'state', choose: true, render: (disk) => <StateLabel compact schema="ObjectState" state={disk.state} /> },
          { key: 'size', sort: 'size', render: (disk) => <Size value={disk.size} /> },
          { key: 'allocated', sort: 'allocated', render: (disk) => <Size value={disk.allocated} /> },
          { key: 'vm', render: (disk) => <RefLink kind="vm" id={disk.vm} /> },
          { key: 'template', wide: true, render: (disk) => <RefLink kind="template" id={disk.template} /> },
          ...(repository ? [] : [{ key: 'repository', render: (disk: { repository?: string }) => <RefLink kind="repository" id={disk.repository} /> }]),
        ]}
      />
      <Suspense fallback={null}>{importing ? <ImageImport kind="disk" repository={repository} onClose={() => setImporting(false)} /> : null}</Suspense>
      {creating ? <DiskCreate repository={repository} onClose={() => setCreating(false)} /> : null}
    </Section>
  )
}
