// SPDX-License-Identifier: Apache-2.0
// Where a repository can be used: on a server, on several, on those of a pool.
import type { Repository } from '@/api/types'
import { fieldLabel, said, t } from '@/i18n'
import { SimpleTable } from '@/ui/SimpleTable'
import { RefLink, Yes } from '@/ui/text'

/** In a cell: the only server, the pool, or how many servers. */
export function PresentedTo({ repository }: { repository: Repository }) {
  if (repository.pool) return <RefLink kind="pool" id={repository.pool} />
  if (repository.presented.length > 1) return <>{t('repositories.servers', { count: repository.presented.length })}</>
  return <RefLink kind="server" id={repository.presented[0]?.server ?? repository.server} />
}

export function PresentedTable({ repository }: { repository: Repository }) {
  const label = (name: string) => fieldLabel('RepositoryServer', name)
  return (
    <SimpleTable
      label={fieldLabel('Repository', 'presented')}
      head={[label('server'), label('usable'), label('reason')]}
      rows={repository.presented.map((one) => [<RefLink key="s" kind="server" id={one.server} />, <Yes key="u" value={one.usable} />, said(one.reason) || '–'])}
    />
  )
}
