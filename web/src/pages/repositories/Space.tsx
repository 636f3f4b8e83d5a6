// SPDX-License-Identifier: Apache-2.0
import { Progress, ProgressMeasureLocation } from '@patternfly/react-core'
import { t } from '@/i18n'
import { percent, size } from '@/i18n/format'
import { Dash } from '@/ui/text'

/** How full it is: from 90 % on a warning, from 97 % on a fault, as the alarms have it. */
export function Space({ capacity, free, label, long }: { capacity: number | undefined; free: number | undefined; label: string; long?: boolean }) {
  if (!capacity) return <Dash />
  const used = (capacity - (free ?? 0)) / capacity
  return (
    <Progress
      className="tarn-space"
      aria-label={label}
      size="sm"
      value={Math.round(used * 100)}
      label={percent(used)}
      measureLocation={ProgressMeasureLocation.outside}
      variant={used >= 0.97 ? 'danger' : used >= 0.9 ? 'warning' : undefined}
      helperText={long ? t('repositories.space', { free: size(free), capacity: size(capacity) }) : undefined}
    />
  )
}
