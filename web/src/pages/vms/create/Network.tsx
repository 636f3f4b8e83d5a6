// SPDX-License-Identifier: Apache-2.0
import { Button, FormFieldGroup, FormFieldGroupHeader } from '@patternfly/react-core'
import PlusIcon from '@patternfly/react-icons/dist/esm/icons/plus-icon'
import TrashIcon from '@patternfly/react-icons/dist/esm/icons/trash-icon'
import { schemas } from '@/api/description'
import { fieldLabel, t } from '@/i18n'
import { Field } from '@/ui/Field'
import type { Body } from '@/ui/form'
import { CloudInitFields } from '../CloudInit'
import type { Plan } from './plan'

const FIELDS = Object.keys(schemas.VmNic.fields)

export function Network({ plan }: { plan: Plan }) {
  const { form } = plan
  const nics = (form.get('nics') as Body[] | undefined) ?? [{}]
  const set = (next: Body[]) => form.set('nics', next)
  const microvm = form.get('machine') === 'microvm'
  return (
    <>
      <FormFieldGroup
        header={
          <FormFieldGroupHeader
            titleText={{ text: fieldLabel('Vm', 'nics'), id: 'create-nics' }}
            actions={
              <Button variant="link" icon={<PlusIcon />} onClick={() => set([...nics, {}])}>
                {t('vms.nic_add')}
              </Button>
            }
          />
        }
      >
        {nics.map((_nic, index) => (
          <div key={index} className="tarn-item">
            {FIELDS.map((name) => (
              <Field key={name} form={form} path={`nics[${index}].${name}`} hide={name === 'model' && microvm ? ['e1000'] : []} help={name === 'mac' ? t('vms.nic_mac_help') : undefined} />
            ))}
            <Button variant="plain" aria-label={t('form.remove', { name: t('vms.nic', { number: index + 1 }) })} icon={<TrashIcon />} onClick={() => set(nics.filter((_n, i) => i !== index))} />
          </div>
        ))}
        {!nics.length ? <span className="tarn-dim">{t('vms.no_nics')}</span> : null}
      </FormFieldGroup>
      <CloudInitFields form={form} mode={plan.cloudMode} onMode={plan.setCloudMode} user={plan.cloudUser} onUser={plan.setCloudUser} />
    </>
  )
}
