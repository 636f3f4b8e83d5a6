// SPDX-License-Identifier: Apache-2.0
// Which of a server's addresses is used for what.
import { Button, Checkbox, FormGroup } from '@patternfly/react-core'
import PlusIcon from '@patternfly/react-icons/dist/esm/icons/plus-icon'
import TrashIcon from '@patternfly/react-icons/dist/esm/icons/trash-icon'
import type { DialogProps } from '@/actions'
import { schemas } from '@/api/description'
import type { Server } from '@/api/types'
import { enumLabel, fieldLabel, t } from '@/i18n'
import { Field } from '@/ui/Field'
import type { FormState } from '@/ui/form'
import { OperationDialog } from '@/ui/OperationDialog'

interface Address {
  address?: string
  roles?: string[]
}

/** The addresses that its interfaces have, without the network's length. */
export function knownAddresses(server: Server): string[] {
  const nics = (server.hardware as { nics?: { addresses?: string[] }[] } | undefined)?.nics ?? []
  return [...new Set(nics.flatMap((nic) => nic.addresses ?? []).map((one) => one.replace(/\/.*/, '')))]
}

function Row({ form, index, addresses, known }: { form: FormState; index: number; addresses: Address[]; known: string[] }) {
  const roles = schemas.ServerAddress.fields.roles.values ?? []
  const has = addresses[index].roles ?? []
  return (
    <fieldset className="tarn-row">
      <legend className="tarn-dim">{addresses[index].address || t('servers.new_address')}</legend>
      <Field form={form} path={`addresses[${index}].address`} />
      {known.filter((one) => !addresses.some((other) => other.address === one)).length ? (
        <div className="tarn-chips">
          {known
            .filter((one) => !addresses.some((other) => other.address === one))
            .map((one) => (
              <Button key={one} variant="link" isInline onClick={() => form.set(`addresses[${index}].address`, one)}>
                {one}
              </Button>
            ))}
        </div>
      ) : null}
      <FormGroup role="group" isInline label={fieldLabel('ServerAddress', 'roles')} fieldId={`roles-${index}`}>
        {roles.map((role) => (
          <Checkbox
            key={role}
            id={`role-${index}-${role}`}
            label={enumLabel('NetworkRole', role)}
            isChecked={has.includes(role)}
            onChange={(_e, on) => form.set(`addresses[${index}].roles`, on ? [...has, role] : has.filter((one) => one !== role))}
          />
        ))}
      </FormGroup>
      <Button variant="link" isInline isDanger icon={<TrashIcon />} onClick={() => form.set('addresses', addresses.filter((_one, at) => at !== index))}>
        {t('ui.remove')}
      </Button>
    </fieldset>
  )
}

export default function AddressesEdit({ objects: [server], onClose }: DialogProps<'server'>) {
  return (
    <OperationDialog
      wide
      operation="server_change"
      title={t('servers.addresses', { name: server.name })}
      button={t('ui.save')}
      params={{ server: server.id! }}
      shownParams={{ server: server.name }}
      ifMatch={server.revision}
      initial={{ addresses: server.addresses ?? [] }}
      onClose={onClose}
    >
      {(form) => {
        const addresses = (form.get('addresses') as Address[] | undefined) ?? []
        return (
          <>
            <p className="tarn-dim">{t('servers.addresses_text')}</p>
            {addresses.map((_one, index) => (
              <Row key={index} form={form} index={index} addresses={addresses} known={knownAddresses(server)} />
            ))}
            <Button variant="secondary" icon={<PlusIcon />} onClick={() => form.set('addresses', [...addresses, { address: '', roles: [] }])}>
              {t('servers.add_address')}
            </Button>
          </>
        )
      }}
    </OperationDialog>
  )
}
