// SPDX-License-Identifier: Apache-2.0
import { FormGroup, FormSelect, FormSelectOption } from '@patternfly/react-core'
import type { DialogProps } from '@/actions'
import { fieldLabel, t } from '@/i18n'
import { useName } from '@/live/hooks'
import { OperationDialog } from '@/ui/OperationDialog'

function ServerOption({ id }: { id: string }) {
  return <FormSelectOption value={id} label={useName('server', id) || '…'} />
}

/** One of its servers uses the repository no more. */
export default function Withdraw({ objects: [repository], onClose }: DialogProps<'repository'>) {
  const servers = repository.presented.map((one) => one.server!)
  const label = fieldLabel('PoolServer', 'server')
  return (
    <OperationDialog
      operation="repository_withdraw"
      title={t('repositories.withdraw', { name: repository.name })}
      button={t('action.repository.withdraw')}
      params={{ repository: repository.id! }}
      shownParams={{ repository: repository.name }}
      initial={{ server: servers[0] }}
      onClose={onClose}
    >
      {(form) => (
        <>
          <p>{t('repositories.withdraw_text')}</p>
          <FormGroup label={label} fieldId="withdraw-from">
            <FormSelect id="withdraw-from" value={form.get('server') as string} onChange={(_e, id) => form.set('server', id)}>
              {servers.map((id) => (
                <ServerOption key={id} id={id} />
              ))}
            </FormSelect>
          </FormGroup>
        </>
      )}
    </OperationDialog>
  )
}
