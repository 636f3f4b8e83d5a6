// SPDX-License-Identifier: Apache-2.0
import { Content } from '@patternfly/react-core'
import { useNavigate } from 'react-router-dom'
import type { DialogProps } from '@/actions'
import { t } from '@/i18n'
import { Field } from '@/ui/Field'
import { OperationDialog } from '@/ui/OperationDialog'

/** Makes a template of a stopped virtual machine; it keeps its own disks. */
export default function GoldenImage({ objects: [vm], onClose }: DialogProps<'vm'>) {
  const navigate = useNavigate()
  return (
    <OperationDialog
      operation="template_create"
      title={t('vms.golden_title', { name: vm.name })}
      button={t('vms.golden_make')}
      initial={{ name: `${vm.name}-image`, description: '', tags: vm.tags?.length ? vm.tags : undefined, cpus: vm.cpus, memory: vm.memory, machine: vm.machine, firmware: vm.firmware }}
      extra={{ from_vm: vm.id! }}
      onDone={(job) => job.object?.id && navigate(`/templates/${job.object.id}`)}
      onClose={onClose}
    >
      {(form) => (
        <>
          <Content component="p">{t('vms.golden_text')}</Content>
          <Field form={form} path="name" />
          <Field form={form} path="description" lines={2} />
          <Field form={form} path="tags" />
          <Field form={form} path="cpus" />
          <Field form={form} path="memory" />
        </>
      )}
    </OperationDialog>
  )
}
