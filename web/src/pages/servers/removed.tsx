// SPDX-License-Identifier: Apache-2.0
// What became of all that was on a server that is gone for good: the manager says it once, in its answer, as the command line does.
import { List, ListItem } from '@patternfly/react-core'
import type { ObjectRef, Server, ServerRemoved } from '@/api/types'
import { fieldLabel, t } from '@/i18n'
import { ObjectRefLink } from '@/ui/ObjectRefLink'
import { Reason } from '@/ui/Reason'
import type { Toast } from '@/ui/Toasts'

const MOST = 100

function Objects({ field, objects, gone }: { field: string; objects: ObjectRef[]; gone?: boolean }) {
  if (!objects.length) return null
  const title = fieldLabel('ServerRemoved', field)
  return (
    <div className="tarn-gap-top">
      {title}
      {/* There may be many: the list moves, with the keyboard too. */}
      <div className="tarn-removed" role="region" aria-label={title} tabIndex={0}>
        <List>
          {objects.slice(0, MOST).map((object) => (
            <ListItem key={object.id}>
              <ObjectRefLink object={object} withKind gone={gone} />
            </ListItem>
          ))}
          {objects.length > MOST ? <ListItem>{t('ui.and_more', { count: objects.length - MOST })}</ListItem> : null}
        </List>
      </div>
    </div>
  )
}

/** Nothing where the server took nothing with it. */
export function removedToast(answer: unknown, { name }: Server): Toast | undefined {
  const { lost = [], crashed = [], warnings = [] } = (answer ?? {}) as Partial<ServerRemoved>
  if (!lost.length && !crashed.length && !warnings.length) return undefined
  return {
    variant: 'warning',
    stays: true,
    title: t('servers.removed', { name }),
    text: (
      <>
        {warnings.map((text) => (
          <p key={text}>
            <Reason text={text} />
          </p>
        ))}
        <Objects field="crashed" objects={crashed} />
        <Objects field="lost" objects={lost} gone />
      </>
    ),
  }
}
