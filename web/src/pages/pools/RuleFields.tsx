// SPDX-License-Identifier: Apache-2.0
import { Label, LabelGroup } from '@patternfly/react-core'
import type { Kind } from '@/api/types'
import { fieldLabel } from '@/i18n'
import { useName } from '@/live/hooks'
import { eq } from '@/live/match'
import { Field, idOf } from '@/ui/Field'
import type { FormState } from '@/ui/form'
import { RefPicker } from '@/ui/RefPicker'
import { FormGroup } from '@patternfly/react-core'

function Chosen({ kind, id, onRemove }: { kind: Kind; id: string; onRemove: () => void }) {
  return (
    <Label isCompact onClose={onRemove}>
      {useName(kind, id) || '…'}
    </Label>
  )
}

/** Several objects of a kind. */
export function RefsInput({ form, path, kind, pool }: { form: FormState; path: string; kind: 'vm' | 'server'; pool: string | undefined }) {
  const chosen = (form.get(path) as string[] | undefined) ?? []
  const label = fieldLabel(form.schema, path)
  return (
    <FormGroup label={label} fieldId={idOf(path)}>
      {chosen.length ? (
        <LabelGroup numLabels={50} aria-label={label} className="tarn-gap-bottom">
          {chosen.map((id) => (
            <Chosen key={id} kind={kind} id={id} onRemove={() => form.set(path, chosen.filter((one) => one !== id))} />
          ))}
        </LabelGroup>
      ) : null}
      <RefPicker
        id={idOf(path)}
        kind={kind}
        label={label}
        value={undefined}
        filter={pool ? [eq('pool', pool)] : []}
        invalid={!!form.error(path)}
        onChange={(id) => id && !chosen.includes(id) && form.set(path, [...chosen, id])}
      />
    </FormGroup>
  )
}

export function RuleFields({ form, pool }: { form: FormState; pool: string | undefined }) {
  const type = String(form.get('type') ?? '')
  return (
    <>
      <Field form={form} path="name" />
      <Field form={form} path="type" />
      <Field form={form} path="must" />
      <RefsInput form={form} path="vms" kind="vm" pool={pool} />
      <Field form={form} path="tag" />
      {type.endsWith('on-servers') ? <RefsInput form={form} path="servers" kind="server" pool={pool} /> : null}
      <Field form={form} path="description" lines={2} />
    </>
  )
}
