// SPDX-License-Identifier: Apache-2.0
// A new disk of any size: made by a job, then given to the virtual machine.
import { Alert, Button, Form, Modal, ModalBody, ModalFooter, ModalHeader } from '@patternfly/react-core'
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
import { freeName, jobEnd, plainDisks } from './model'
import { lockReason } from './Settings'

const USUAL = 20 * 2 ** 30

export default function AddDisk({ vm, onClose }: { vm: Vm; onClose: () => void }) {
  const form = useForm('Disk', 'create', { size: USUAL, repository: vm.repository })
  const how = useForm('VmDisk', '', {})
  const [step, setStep] = useState<'' | 'making' | 'attaching'>('')
  const reason = lockReason(vm, ['disks'])
  const { set } = form
  useEffect(() => {
    listObjects('disk', { filter: filterText([contains('name', `${vm.name}-`)]), fields: 'id,name', limit: 1000 }).then(
      (page) => set('name', freeName(vm.name, page.items.map((disk) => disk.name))),
      () => set('name', `${vm.name}-1`),
    )
  }, [vm.name, set])

  const add = async () => {
    if (step || reason || !form.validate()) return
    setStep('making')
    try {
      const job = await call('disk_create', { body: form.body })
      const ended = await jobEnd(job.id!)
      if (ended.state !== 'done') throw new ApiError(0, ended.error_code || 'internal', ended.error || t('vms.disk_not_made'))
      setStep('attaching')
      // What it has now, not when the dialog was opened.
      const now = live.object('vm', vm.id!).snapshot().object ?? vm
      const disk = { ...how.body, disk: job.object!.id } as VmDisk
      await call('vm_change', { params: { vm: vm.id! }, body: { disks: [...plainDisks(now), disk] } })
      onClose()
    } catch (error) {
      form.fail(error)
      setStep('')
    }
  }
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-labelledby="add-disk-title">
      <ModalHeader title={t('vms.disk_add')} labelId="add-disk-title" />
      <ModalBody>
        {reason ? <Alert isInline variant="warning" title={reason} className="tarn-gap-bottom" /> : null}
        <ErrorAlert error={form.problem} />
        <Form
          noValidate
          onSubmit={(event) => {
            event.preventDefault()
            void add()
          }}
        >
          <Field form={form} path="name" />
          <Field form={form} path="size" />
          <Field form={how} path="bus" hide={vm.machine === 'microvm' ? ['sata'] : []} />
          <button type="submit" hidden tabIndex={-1} />
        </Form>
        <ShowAsCommand operation="disk_create" body={form.body} />
      </ModalBody>
      <ModalFooter>
        <Button isLoading={!!step} isDisabled={!!step || !!reason} onClick={() => void add()}>
          {step ? t(`vms.disk_${step}`) : t('vms.add')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
