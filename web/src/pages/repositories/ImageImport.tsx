// SPDX-License-Identifier: Apache-2.0
// Makes an ISO image or a virtual disk of a file of this computer or of the repository's server.
import { Button, Form, FormGroup, Modal, ModalBody, ModalFooter, ModalHeader, Radio, TextInput } from '@patternfly/react-core'
import { useState } from 'react'
import { call } from '@/api/client'
import { session } from '@/api/session'
import { t } from '@/i18n'
import { ErrorAlert, errorText } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { useForm } from '@/ui/form'
import { ShowAsCommand } from '@/ui/ShowAsCommand'
import { showProblem, useMounted } from '@/ui/submit'
import { useToasts } from '@/ui/Toasts'
import { FileInput } from '@/upload/FileInput'
import { nameOfFile } from '@/upload/names'
import { UploadProgress } from '@/upload/UploadProgress'
import { FileUpload } from '@/upload/uploads'

interface Props {
  kind: 'iso' | 'disk'
  repository?: string
  onClose: () => void
}

export default function ImageImport({ kind, repository, onClose }: Props) {
  const form = useForm(kind === 'iso' ? 'Iso' : 'Disk', 'create', { repository, image: {} })
  const [local, setLocal] = useState(true)
  const [file, setFile] = useState<File>()
  const [missing, setMissing] = useState(false)
  const [sending, setSending] = useState<FileUpload>()
  const [busy, setBusy] = useState(false)
  const operation = kind === 'iso' ? 'iso_create' : 'disk_create'
  const path = String(form.get('image.path') ?? '')
  // Closed while a file is on its way, it goes on by itself.
  const open = useMounted()
  const toasts = useToasts()

  const send = async () => {
    const lacks = local ? !file : !path
    setMissing(lacks)
    const valid = form.validate()
    if (lacks || !valid) showProblem()
    if (busy || lacks || !valid) return
    setBusy(true)
    const repository = form.get('repository') as string | undefined
    const again = sending && sending.file === file && sending.repository === repository && sending.state.state !== 'cancelled'
    const upload = !local ? undefined : again ? sending : new FileUpload(file!, repository)
    setSending(upload)
    try {
      const image = upload ? { upload: (await upload.start()).id } : { path }
      await call(operation, { body: { ...form.body, image } as never })
      if (open.current) onClose()
    } catch (error) {
      if (!open.current) {
        if (upload?.state.state !== 'cancelled') toasts.add({ variant: 'danger', title: `${t(`images.import_${kind}`)}: ${String(form.get('name') ?? '')}`, text: errorText(error) })
        return
      }
      setBusy(false)
      if (upload && upload.state.state !== 'done') return
      form.fail(error)
      showProblem()
    }
  }
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-labelledby="image-title">
      <ModalHeader title={t(`images.import_${kind}`)} labelId="image-title" description={t(`images.import_${kind}_text`)} />
      <ModalBody>
        <ErrorAlert error={form.problem} />
        <Form
          noValidate
          onSubmit={(event) => {
            event.preventDefault()
            void send()
          }}
        >
          {session().role === 'administrator' ? (
            <FormGroup role="radiogroup" isInline label={t('templates.source')} fieldId="image-local">
              <Radio id="image-local" name="image-source" label={t('images.local')} isChecked={local} isDisabled={busy} onChange={() => setLocal(true)} />
              <Radio id="image-path" name="image-source" label={t('templates.source_path')} isChecked={!local} isDisabled={busy} onChange={() => setLocal(false)} />
            </FormGroup>
          ) : null}
          {local ? (
            <FileInput
              id="image-file"
              label={t('images.file')}
              file={file}
              required
              onChange={(chosen) => {
                setFile(chosen)
                setMissing(false)
                if (chosen && !form.get('name')) form.set('name', nameOfFile(chosen.name))
              }}
            />
          ) : (
            <FormGroup label={t('templates.path')} fieldId="image-server-path" isRequired>
              <TextInput id="image-server-path" value={path} onChange={(_e, value) => form.set('image.path', value)} spellCheck={false} />
            </FormGroup>
          )}
          {missing ? <ErrorAlert error={new Error(t(local ? 'templates.choose_file' : 'form.path'))} /> : null}
          <Field form={form} path="name" />
          <Field form={form} path="repository" absent={t('ui.the_only')} />
          <Field form={form} path="description" lines={2} />
          <button type="submit" hidden tabIndex={-1} />
        </Form>
        {sending ? <UploadProgress upload={sending} onCancel={() => setBusy(false)} /> : null}
        <ShowAsCommand operation={operation} body={{ ...form.body, image: local ? { upload: file?.name ?? 'UPLOAD' } : { path } }} />
      </ModalBody>
      <ModalFooter>
        <Button isLoading={busy} isDisabled={busy} onClick={() => void send()}>
          {t('templates.import_now')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t(busy ? 'images.go_on' : 'ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
