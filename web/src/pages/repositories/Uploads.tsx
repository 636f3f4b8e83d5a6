// SPDX-License-Identifier: Apache-2.0
// Files that have been sent, or are being, and are not yet part of anything.
import { Button } from '@patternfly/react-core'
import { useRef, useState } from 'react'
import { can } from '@/api/session'
import type { Repository } from '@/api/types'
import { t } from '@/i18n'
import { percent } from '@/i18n/format'
import { Empty } from '@/ui/Empty'
import { ObjectTable } from '@/ui/ObjectTable'
import { Section } from '@/ui/Properties'
import { RefLink, Size, StateLabel, Time } from '@/ui/text'
import { UploadProgress } from '@/upload/UploadProgress'
import { FileUpload } from '@/upload/uploads'

export function Uploads({ repository }: { repository: Repository }) {
  const chooser = useRef<HTMLInputElement>(null)
  const [sending, setSending] = useState<FileUpload[]>([])
  const tools = can('upload_create') ? (
    <Button onClick={() => chooser.current?.click()} isDisabled={repository.state !== 'ready'}>
      {t('upload.file')}
    </Button>
  ) : undefined
  return (
    <Section>
      <p className="tarn-dim tarn-gap-bottom">{t('upload.explain')}</p>
      <input
        ref={chooser}
        type="file"
        multiple
        hidden
        aria-label={t('upload.file')}
        onChange={(event) => {
          const files = [...(event.target.files ?? [])].map((file) => new FileUpload(file, repository.id))
          event.target.value = ''
          setSending((old) => [...old.filter((one) => one.state.state !== 'done'), ...files])
          // One after the other: together they would only share the same line.
          void files.reduce((before, one) => before.then(() => one.start()).then(() => {}, () => {}), Promise.resolve())
        }}
      />
      {sending.map((one, index) => (
        <UploadProgress key={index} upload={one} onCancel={() => setSending((old) => old.filter((other) => other !== one))} />
      ))}
      <ObjectTable
        kind="upload"
        filter={[{ field: 'repository', op: '=', value: repository.id! }]}
        tools={tools}
        empty={<Empty small title={t('upload.none')} actions={tools} />}
        columns={[
          { key: 'name', sort: 'name', width: 35 },
          { key: 'state', choose: true, render: (one) => <StateLabel compact schema="UploadState" state={one.state} /> },
          { key: 'size', sort: 'size', render: (one) => <Size value={one.size} /> },
          { key: 'received', render: (one) => percent(one.size ? one.received / one.size : 1) },
          { key: 'owner', render: (one) => <RefLink kind="user" id={one.owner} /> },
          { key: 'created', render: (one) => <Time value={one.created} /> },
        ]}
      />
    </Section>
  )
}
