// SPDX-License-Identifier: Apache-2.0
import { FormGroup, FormHelperText, FormSelect, FormSelectOption, HelperText, HelperTextItem, Radio } from '@patternfly/react-core'
import { schemas } from '@/api/description'
import { useCan } from '@/api/session'
import { enumLabel, fieldLabel, t } from '@/i18n'
import { size } from '@/i18n/format'
import { useList } from '@/live/hooks'
import { eq } from '@/live/match'
import { Field } from '@/ui/Field'
import { RefPicker } from '@/ui/RefPicker'
import { FileInput } from '@/upload/FileInput'
import { UploadProgress } from '@/upload/UploadProgress'
import type { Plan, Source as From } from './plan'

export function Problem({ text }: { text: string | undefined }) {
  if (!text) return null
  return (
    <FormHelperText>
      <HelperText isLiveRegion>
        <HelperTextItem variant="error">{text}</HelperTextItem>
      </HelperText>
    </FormHelperText>
  )
}

function TemplateChoice({ plan, problem }: { plan: Plan; problem?: string }) {
  const { form } = plan
  const label = fieldLabel('Vm', 'template')
  return (
    <>
      <FormGroup label={label} fieldId="from-template" isRequired>
        <RefPicker
          id="from-template"
          kind="template"
          label={label}
          value={form.get('template') as string | undefined}
          onChange={(id) => form.set('template', id)}
          filter={[eq('state', 'ready')]}
          invalid={!!problem}
          describe={(one) => [one.description, one.disks?.length ? one.disks.map((disk) => size(disk.size)).join(' + ') : t('vms.kernel_only'), size(one.memory)].filter(Boolean).join(' · ')}
        />
        <Problem text={problem} />
      </FormGroup>
      {plan.template?.disks?.length ? <Field form={form} path="clone" /> : null}
    </>
  )
}

function ImageFile({ plan, problem, iso }: { plan: Plan; problem?: string; iso?: boolean }) {
  const repositories = useList('repository', { limit: 2 })
  const sending = !!plan.upload
  return (
    <>
      {(repositories.total ?? repositories.items.length) > 1 ? <Field form={plan.form} path="repository" disabled={sending} help={t('vms.repository_first')} filter={[eq('state', 'ready')]} /> : null}
      <FileInput id="image-file" label={t(iso ? 'vms.iso_file' : 'vms.image_file')} file={plan.upload?.file} onChange={plan.setFile} required />
      <Problem text={problem} />
      {plan.upload ? <UploadProgress upload={plan.upload} onCancel={() => plan.setFile(undefined)} /> : null}
      {iso ? null : (
        <FormGroup label={fieldLabel('ImageSource', 'format')} fieldId="image-format">
          <FormSelect id="image-format" value={plan.format} onChange={(_e, value) => plan.setFormat(value)}>
            {(schemas.ImageSource.fields.format.values ?? []).map((value) => (
              <FormSelectOption key={value} value={value} label={enumLabel('ImageFormat', value)} />
            ))}
          </FormSelect>
        </FormGroup>
      )}
    </>
  )
}

function IsoChoice({ plan, problems }: { plan: Plan; problems: Record<string, string> }) {
  const can = useCan()
  const label = t('vms.iso_file')
  return (
    <>
      {can('iso_create') ? (
        <FormGroup role="radiogroup" isInline label={label} fieldId="iso-where">
          <Radio id="iso-there" name="iso-where" label={t('vms.iso_there')} isChecked={!plan.ownIso} onChange={() => plan.setOwnIso(false)} />
          <Radio id="iso-own" name="iso-where" label={t('vms.iso_own')} isChecked={plan.ownIso} onChange={() => plan.setOwnIso(true)} />
        </FormGroup>
      ) : null}
      {plan.ownIso ? (
        <ImageFile plan={plan} problem={problems.file} iso />
      ) : (
        <FormGroup label={label} fieldId="from-iso" isRequired>
          <RefPicker id="from-iso" kind="iso" label={label} value={plan.form.get('cdrom') as string | undefined} onChange={(id) => plan.form.set('cdrom', id)} filter={[eq('state', 'ready')]} invalid={!!problems.cdrom} describe={(one) => [one.label, size(one.size)].filter(Boolean).join(' · ')} />
          <Problem text={problems.cdrom} />
        </FormGroup>
      )}
    </>
  )
}

export function Source({ plan, tried }: { plan: Plan; tried: boolean }) {
  const can = useCan()
  const problems = tried ? plan.problems.source : {}
  const ways: From[] = ['template', ...(can('upload_create') ? (['image'] as From[]) : []), 'iso', 'empty']
  return (
    <>
      <FormGroup role="radiogroup" isStack label={t('vms.source')} fieldId="source">
        {ways.map((one) => (
          <Radio key={one} id={`source-${one}`} name="source" label={t(`vms.source_${one}`)} description={t(`vms.source_${one}_text`)} isChecked={plan.source === one} onChange={() => plan.setSource(one)} />
        ))}
      </FormGroup>
      {plan.source === 'template' ? <TemplateChoice plan={plan} problem={problems.template} /> : null}
      {plan.source === 'image' ? <ImageFile plan={plan} problem={problems.file} /> : null}
      {plan.source === 'iso' ? <IsoChoice plan={plan} problems={problems} /> : null}
    </>
  )
}
