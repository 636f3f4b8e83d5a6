// SPDX-License-Identifier: Apache-2.0
import { FormGroup, FormSelect, FormSelectOption } from '@patternfly/react-core'
import { fieldLabel, t } from '@/i18n'
import type { FormState } from './form'

const LIFETIMES: [seconds: number, key: string][] = [
  [3600, 'users.hour'],
  [86400, 'users.day'],
  [7 * 86400, 'users.week'],
  [30 * 86400, 'users.month'],
  [90 * 86400, 'users.quarter'],
  [365 * 86400, 'users.year'],
]

/** How long a token is valid. */
export function Lifetime({ form }: { form: FormState }) {
  return (
    <FormGroup label={fieldLabel('Token', 'lifetime')} fieldId="field-lifetime">
      <FormSelect id="field-lifetime" value={String(form.get('lifetime'))} onChange={(_e, value) => form.set('lifetime', Number(value))}>
        {LIFETIMES.map(([seconds, key]) => (
          <FormSelectOption key={seconds} value={String(seconds)} label={t(key)} />
        ))}
      </FormSelect>
    </FormGroup>
  )
}
