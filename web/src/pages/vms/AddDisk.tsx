// SPDX-License-Identifier: Apache-2.0
// A new disk of any size: made by a job, then given to the virtual machine. Where only the first comes about, it is said what there is
// now, and it goes on from there.
import { Alert, AlertActionLink, Button, Form, Modal, ModalBody, ModalFooter, ModalHeader } from '@patternfly/react-core'
import { useEffect, useState } from 'react'
import { ApiError, call } from '@/api/client'
import { listObjects } from '@/api/kinds'
import type { Vm, VmDisk } from '@/api/types'
import { t } from '@/i18n'
import { contains, filterText } from '@/live/match'
import { live } from '@/live/store'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { useForm } from '@/ui/form'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { useSubmit } from '@/ui/submit'
import { freeName, jobEnd, plainDisks } from './model'
import { lockReason } from './Settings'

const USUAL = 20 * 2 ** 30

/** Waits for a job, and fails as it does. */
async function follow(id: string, otherwise: string) {
  const ended = await jobEnd(id)
  if (ended.state !== 'done') throw new ApiError(0, ended.error_code || 'internal', ended.error || otherwise)
}

export default function AddDisk({ vm, onClose }: { vm: Vm; onClose: () => void }) {
  const form = useForm('Disk', 'create', { size: USUAL, repository: vm.repository })
  const how = useForm('VmDisk', '', {})
  const [step, setStep] = useState<'making' | 'attaching'>('making')
  const [made, setMade] = useState<{ id: string; name: string }>()
  const reason = lockReason(vm, ['disks'])
  const { set } = form
  useEffect(() => {
    listObjects('disk', { filter: filterText([contains('name', `${vm.name}-`)]), fields: 'id,name', limit: 1000 }).then(
      (page) => set('name', freeName(vm.name, page.items.map((disk) => disk.name))),
      () => set('name', `${vm.name}-1`),
    )
  }, [vm.name, set])

  const add = async () => {
    let id = made?.id
    if (!id) {
      setStep('making')
      const job = await call('disk_create', { body: form.body })
      await follow(job.id!, t('vms.disk_not_made'))
      id = job.object!.id
      setMade({ id, name: String(form.body.name) })
    }
    setStep('attaching')
    // What it has now, not when the dialog was opened.
    const now = live.object('vm', vm.id!).snapshot().object ?? vm
    const disk = { ...how.body, disk: id } as VmDisk
    await call('vm_change', { params: { vm: vm.id! }, body: { disks: [...plainDisks(now), disk] }, ifMatch: now.revision })
    onClose()
  }
  const { busy, submit, onSubmit } = useSubmit(form, add, { ready: !reason, title: t('vms.disk_not_added', { name: String(form.get('name') ?? ''), vm: vm.name }) })
  const discard = async () => {
    try {
      const job = await call('disk_delete', { params: { disk: made!.id } })
      await follow(job.id!, t('vms.disk_not_made'))
      onClose()
    } catch (error) {
      form.fail(error)
    }
  }
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-labelledby="add-disk-title">
      <ModalHeader title={t('vms.disk_add')} labelId="add-disk-title" />
      <ModalBody>
        {reason ? <Alert isInline variant="warning" title={reason} className="tarn-gap-bottom" /> : null}
        <ErrorAlert error={form.problem} />
        {made && !busy ? (
          <Alert isInline variant="warning" title={t('vms.disk_left', { name: made.name })} className="tarn-gap-bottom" actionLinks={<AlertActionLink onClick={() => void discard()}>{t('vms.disk_left_delete')}</AlertActionLink>}>
            {t('vms.disk_left_text')}
          </Alert>
        ) : null}
        <Form noValidate onSubmit={onSubmit}>
          <Field form={form} path="name" disabled={!!made} />
          <Field form={form} path="size" disabled={!!made} />
          <Field form={how} path="bus" hide={vm.machine === 'microvm' ? ['sata'] : []} />
          <button type="submit" hidden tabIndex={-1} />
        </Form>
        <ShowAsCommand operation="disk_create" body={form.body} />
      </ModalBody>
      <ModalFooter>
        <Button isLoading={busy} isDisabled={busy || !!reason} onClick={() => void submit()}>
          {busy ? t(`vms.disk_${step}`) : t(made ? 'vms.disk_attach_again' : 'vms.add')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
