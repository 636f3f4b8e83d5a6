// SPDX-License-Identifier: Apache-2.0
// Where virtual machines go: Tarn's choice, or a server of one's own choice, with why another can't take them.
import { Alert, Button, Checkbox, Form, FormGroup, Modal, ModalBody, ModalFooter, ModalHeader, Radio } from '@patternfly/react-core'
import { useEffect, useState } from 'react'
import { actionsFor, type DialogProps } from '@/actions'
import { usePerformAction } from '@/actions/ActionHost'
import { call } from '@/api/client'
import type { PlacementChoice, Vm } from '@/api/types'
import { fieldLabel, said, t } from '@/i18n'
import { useList } from '@/live/hooks'
import { eq } from '@/live/match'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { useForm } from '@/ui/form'
import { ShowAsCommand } from '@/ui/ShowAsCommand'

interface Choices {
  servers: PlacementChoice[]
  error?: unknown
  loading: boolean
}

/** Where one could go, by the manager's own placement; for several, the servers that are online. */
function useChoices(vm: Vm | undefined, pool: string | undefined): Choices {
  const [found, setFound] = useState<Choices>({ servers: [], loading: !!vm })
  const online = useList('server', { filter: [eq('state', 'online'), ...(pool ? [eq('pool', pool)] : [])], limit: 100 })
  const id = vm?.id
  useEffect(() => {
    if (!id) return
    const abort = new AbortController()
    call('vm_placement', { params: { vm: id }, signal: abort.signal }).then(
      (answer) => setFound({ servers: answer.servers ?? [], loading: false }),
      (error: unknown) => abort.signal.aborted || setFound({ servers: [], error, loading: false }),
    )
    return () => abort.abort()
  }, [id])
  if (vm) return found
  return { servers: online.items.map((server) => ({ server: server.id!, name: server.name, ok: true, chosen: false, score: 0, reason: '' })), loading: online.loading, error: online.error }
}

function Choice({ choice, here, able, checked, onChange }: { choice: PlacementChoice; here: boolean; able: boolean; checked: boolean; onChange: () => void }) {
  return (
    <Radio
      id={`to-${choice.server}`}
      name="to"
      label={choice.name || choice.server}
      description={here ? t('vms.migrate_here') : said(choice.reason) || (able ? undefined : t('vms.migrate_cannot'))}
      isChecked={checked}
      isDisabled={!able}
      onChange={onChange}
    />
  )
}

export default function Migrate({ objects, onClose }: DialogProps<'vm'>) {
  const form = useForm('VmMigrate', '', {})
  const perform = usePerformAction()
  const one = objects.length === 1 ? objects[0] : undefined
  const pools = new Set(objects.map((vm) => vm.pool))
  const { servers, error, loading } = useChoices(one, pools.size === 1 ? [...pools][0] : undefined)
  const to = (form.get('to') as string | undefined) ?? ''
  // With its disks it may go where they are out of reach; whether all else fits, the manager says.
  const withDisks = form.get('disks') === true
  const able = (choice: PlacementChoice) => choice.server !== one?.server && (choice.ok || withDisks)
  const nowhere = !!one && !loading && !error && !servers.some(able)
  const action = actionsFor('vm').find((a) => a.id === 'vm.migrate')!
  const send = async () => {
    onClose()
    await perform({ ...action, request: () => ({ body: form.body }) }, objects)
  }
  const shown = { ...form.body, ...(to ? { to: servers.find((s) => s.server === to)?.name ?? to } : {}) }
  return (
    <Modal isOpen variant="medium" onClose={onClose} aria-labelledby="migrate-title">
      <ModalHeader title={one ? t('vms.migrate_title', { name: one.name }) : t('vms.migrate_title_many', { count: objects.length })} labelId="migrate-title" description={t(one ? 'vms.migrate_text' : 'vms.migrate_text_many')} />
      <ModalBody>
        <ErrorAlert error={error} />
        {nowhere ? <Alert isInline variant="warning" title={t('vms.migrate_nowhere')} className="tarn-gap-bottom" /> : null}
        <Form
          onSubmit={(event) => {
            event.preventDefault()
            void send()
          }}
        >
          <FormGroup role="radiogroup" isStack label={fieldLabel('VmMigrate', 'to')} fieldId="to">
            <Radio id="to-any" name="to" label={t('vms.migrate_any')} description={t('vms.migrate_any_text')} isChecked={!to} onChange={() => form.set('to', undefined)} />
            {loading ? <Loading /> : null}
            {servers.map((choice) => (
              <Choice key={choice.server} choice={choice} here={choice.server === one?.server} able={able(choice)} checked={to === choice.server} onChange={() => form.set('to', choice.server)} />
            ))}
          </FormGroup>
          <Checkbox id="migrate-disks" label={t('vms.migrate_disks')} description={t('vms.migrate_disks_text')} isChecked={withDisks} onChange={(_e, on) => form.set('disks', on || undefined)} />
          {withDisks ? <Field form={form} path="repository" absent={t('vms.migrate_its_only')} /> : null}
        </Form>
        <ShowAsCommand operation="vm_migrate" params={{ vm: objects[0].name }} body={shown} />
      </ModalBody>
      <ModalFooter>
        <Button isDisabled={nowhere || loading} onClick={() => void send()}>
          {t('vms.migrate_now')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
