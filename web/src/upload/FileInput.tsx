// SPDX-License-Identifier: Apache-2.0
import { FileUpload as PickFile, FormGroup } from '@patternfly/react-core'
import { t } from '@/i18n'
import { size } from '@/i18n/format'

/** Chooses a file of this computer, by the dialog or by dropping it. */
export function FileInput({ id, label, file, onChange, accept, required }: { id: string; label: string; file: File | undefined; onChange: (file: File | undefined) => void; accept?: string[]; required?: boolean }) {
  return (
    <FormGroup label={label} fieldId={id + '-filename'} isRequired={required}>
      <PickFile
        id={id}
        type="dataURL"
        hideDefaultPreview
        filename={file ? `${file.name} (${size(file.size)})` : ''}
        filenamePlaceholder={t('upload.drop')}
        browseButtonText={t('upload.browse')}
        clearButtonText={t('ui.clear')}
        filenameAriaLabel={label}
        onFileInputChange={(_e, chosen) => onChange(chosen)}
        onClearClick={() => onChange(undefined)}
        dropzoneProps={accept ? { accept: { 'application/octet-stream': accept } } : undefined}
      />
    </FormGroup>
  )
}
