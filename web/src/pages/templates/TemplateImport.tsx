// SPDX-License-Identifier: Apache-2.0
// Makes a template of a disk image or of a kernel: the files are sent first, then the import is asked for, as `tarn template
// import` does.
import { Button, Form, FormGroup, FormSelect, FormSelectOption, Radio, TextInput } from '@patternfly/react-core'
import { useState } from 'react'
import { useNavigate } from 'react-router-dom'
import { call } from '@/api/client'
import { session } from '@/api/session'
import { enumLabel, fieldLabel, kindLabel, t } from '@/i18n'
import { UploadProgress } from '@/upload/UploadProgress'
import { showProblem } from '@/ui/submit'
import { FileInput } from '@/upload/FileInput'
import { nameOfFile } from '@/upload/names'
import { FileUpload } from '@/upload/uploads'
import { schemas } from '@/api/description'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Field } from '@/ui/Field'
import { useForm, type Body } from '@/ui/form'
import { Page } from '@/ui/Page'
import { Section } from '@/ui/Properties'
import { ShowAsCommand } from '@/ui/ShowAsCommand'

type Source = 'disk' | 'kernel' | 'path'

export function Component() {
  const navigate = useNavigate()
  const form = useForm('Template', 'create', {})
  const [source, setSource] = useState<Source>('disk')
  const [disk, setDisk] = useState<File>()
  const [kernel, setKernel] = useState<File>()
  const [initrd, setInitrd] = useState<File>()
  const [path, setPath] = useState('')
  const [format, setFormat] = useState('auto')
  const [missing, setMissing] = useState<string>()
  const [sending, setSending] = useState<FileUpload[]>([])
  const [busy, setBusy] = useState(false)
  const administrator = session().role === 'administrator'

  const take = (file: File | undefined, put: (file: File | undefined) => void) => {
    put(file)
    setMissing(undefined)
    if (file && !form.get('name')) form.set('name', nameOfFile(file.name))
  }
  const wanted: Source[] = ['disk', 'kernel', ...(administrator ? (['path'] as Source[]) : [])]
  const withKernel = source === 'kernel'
  const image = (upload: string): Body => ({ upload, ...(format === 'auto' ? {} : { format }) })
  const body: Body = {
    ...form.body,
    ...(source === 'disk' ? { image: image(disk?.name ?? 'UPLOAD') } : {}),
    ...(source === 'kernel' ? { kernel_image: { upload: kernel?.name ?? 'KERNEL' }, ...(initrd ? { initrd_image: { upload: initrd.name } } : {}) } : {}),
    ...(source === 'path' ? { image: { path, ...(format === 'auto' ? {} : { format }) } } : {}),
  }

  const send = async () => {
    const lacks = source === 'disk' ? !disk : source === 'kernel' ? !kernel : !path.startsWith('/')
    setMissing(lacks ? t(source === 'path' ? 'form.path' : 'templates.choose_file') : undefined)
    const valid = form.validate()
    if (lacks || !valid) showProblem()
    if (!valid || lacks || busy) return
    setBusy(true)
    const repository = form.get('repository') as string | undefined
    const files: [string, File][] = source === 'disk' ? [['image', disk!]] : source === 'kernel' ? [['kernel_image', kernel!], ...(initrd ? [['initrd_image', initrd] as [string, File]] : [])] : []
    const uploads = files.map(([, file]) => new FileUpload(file, repository))
    setSending(uploads)
    try {
      const images: Body = source === 'path' ? { image: body.image } : {}
      for (const [index, upload] of uploads.entries()) {
        const done = await upload.start()
        images[files[index][0]] = files[index][0] === 'image' ? image(done.id!) : { upload: done.id! }
      }
      const job = await call('template_create', { body: { ...form.body, ...images } as never })
      navigate(`/templates/${job.object?.id}`)
    } catch (error) {
      setBusy(false)
      if (!uploads.some((upload) => upload.state.state === 'failed' || upload.state.state === 'cancelled')) {
        form.fail(error)
        setSending([])
        showProblem()
      }
    }
  }

  return (
    <Page title={t('templates.import')} crumbs={[[kindLabel('template', true), '/templates']]}>
      <Section>
        <Form
          isWidthLimited
          noValidate
          onSubmit={(event) => {
            event.preventDefault()
            void send()
          }}
        >
          <ErrorAlert error={form.problem} />
          <FormGroup role="radiogroup" isStack label={t('templates.source')} fieldId="source">
            {wanted.map((one) => (
              <Radio key={one} id={`source-${one}`} name="source" label={t(`templates.source_${one}`)} description={t(`templates.source_${one}_text`)} isChecked={source === one} isDisabled={busy} onChange={() => setSource(one)} />
            ))}
          </FormGroup>
          {source === 'disk' ? <FileInput id="disk" label={fieldLabel('Template', 'image')} file={disk} onChange={(file) => take(file, setDisk)} required /> : null}
          {withKernel ? <FileInput id="kernel" label={fieldLabel('Template', 'kernel_image')} file={kernel} onChange={(file) => take(file, setKernel)} required /> : null}
          {withKernel ? <FileInput id="initrd" label={fieldLabel('Template', 'initrd_image')} file={initrd} onChange={setInitrd} /> : null}
          {source === 'path' ? (
            <FormGroup label={t('templates.path')} fieldId="path" isRequired>
              <TextInput id="path" value={path} onChange={(_e, value) => setPath(value)} spellCheck={false} />
            </FormGroup>
          ) : null}
          {missing ? <ErrorAlert error={new Error(missing)} /> : null}
          {!withKernel ? (
            <FormGroup label={fieldLabel('ImageSource', 'format')} fieldId="format">
              <FormSelect id="format" value={format} onChange={(_e, value) => setFormat(value)}>
                {(schemas.ImageSource.fields.format.values ?? []).map((value) => (
                  <FormSelectOption key={value} value={value} label={enumLabel('ImageFormat', value)} />
                ))}
              </FormSelect>
            </FormGroup>
          ) : null}
          <Field form={form} path="name" />
          <Field form={form} path="description" lines={2} />
          <Field form={form} path="tags" />
          <Field form={form} path="repository" absent={t('ui.the_only')} />
          <Field form={form} path="cpus" />
          <Field form={form} path="memory" />
          <Field form={form} path="machine" />
          <Field form={form} path="firmware" />
          {withKernel ? <Field form={form} path="cmdline" /> : null}
          <ShowAsCommand operation="template_create" body={body} />
          {sending.map((upload, index) => (
            <UploadProgress key={index} upload={upload} onCancel={() => setBusy(false)} />
          ))}
          <div className="tarn-buttons">
            <Button variant="primary" type="submit" isLoading={busy} isDisabled={busy}>
              {t('templates.import_now')}
            </Button>
            <Button variant="link" isDisabled={busy} onClick={() => navigate('/templates')}>
              {t('ui.cancel')}
            </Button>
          </div>
        </Form>
      </Section>
    </Page>
  )
}
