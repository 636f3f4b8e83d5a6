// SPDX-License-Identifier: Apache-2.0
import { Button, Progress, ProgressMeasureLocation } from '@patternfly/react-core'
import { t } from '@/i18n'
import { duration, percent, rate, size } from '@/i18n/format'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { useSending, type FileUpload } from './uploads'

/** How far a file is, with what can be done about it. */
export function UploadProgress({ upload, onCancel }: { upload: FileUpload; onCancel?: () => void }) {
  const sending = useSending(upload)
  if (!sending) return null
  const fraction = sending.size ? sending.received / sending.size : 1
  const left = sending.rate > 0 ? (sending.size - sending.received) / sending.rate : undefined
  const variant = sending.state === 'failed' ? 'danger' : sending.state === 'done' ? 'success' : undefined
  const text =
    sending.state === 'sending'
      ? [t('upload.of', { done: size(sending.received), all: size(sending.size) }), sending.rate ? rate(sending.rate) : '', left !== undefined ? t('upload.left', { time: duration(left) }) : ''].filter(Boolean).join(' · ')
      : t(`upload.${sending.state}`)
  return (
    <div className="tarn-upload">
      <Progress
        aria-label={sending.name}
        title={sending.name}
        value={Math.floor(fraction * 100)}
        label={percent(fraction)}
        measureLocation={ProgressMeasureLocation.outside}
        variant={variant}
        helperText={(sending.resumed ? `${t('upload.resumed')} · ` : '') + text}
        size="sm"
      />
      <ErrorAlert error={sending.error} />
      {sending.state === 'failed' ? (
        <Button variant="link" isInline onClick={() => void upload.start()}>
          {t('upload.again')}
        </Button>
      ) : null}
      {sending.state === 'sending' || sending.state === 'failed' ? (
        <Button
          variant="link"
          isInline
          isDanger
          onClick={() => {
            void upload.cancel()
            onCancel?.()
          }}
        >
          {t('upload.cancel')}
        </Button>
      ) : null}
    </div>
  )
}
