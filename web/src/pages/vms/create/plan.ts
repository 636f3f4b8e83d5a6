// SPDX-License-Identifier: Apache-2.0
// What the wizard has been told, what is still wrong with it, and what would be sent.
import { useEffect, useMemo, useRef, useState } from 'react'
import { ApiError, call } from '@/api/client'
import { listObjects } from '@/api/kinds'
import type { Job, Template } from '@/api/types'
import { t } from '@/i18n'
import { size } from '@/i18n/format'
import { useObject } from '@/live/hooks'
import { contains, filterText } from '@/live/match'
import { checkAll, useForm, type Body, type FormState } from '@/ui/form'
import { FileUpload } from '@/upload/uploads'
import type { CloudMode } from '../CloudInit'
import { cloudConfig, cloudProblem, keysOf, noUser, type CloudUser } from '../cloudconfig'
import { freeName, hasDevice, jobEnd } from '../model'

export type Source = 'template' | 'image' | 'iso' | 'empty'

const GIB = 2 ** 30
/** What a machine of one's own usually needs. */
const USUAL = { cpus: 2, memory: 2 * GIB, disks: [{ size: 20 * GIB }] }

export interface Plan {
  form: FormState
  source: Source
  setSource: (source: Source) => void
  template: Template | undefined
  upload: FileUpload | undefined
  setFile: (file: File | undefined) => void
  format: string
  setFormat: (format: string) => void
  /** An ISO image of this computer rather than one that is there. */
  ownIso: boolean
  setOwnIso: (own: boolean) => void
  cloudMode: CloudMode
  setCloudMode: (mode: CloudMode) => void
  cloudUser: CloudUser
  setCloudUser: (user: CloudUser) => void
  /** By step, then by what it is about; shown once "next" was tried. */
  problems: Record<'source' | 'compute' | 'network', Record<string, string>>
  /** What would be created, with names in place of what does not exist yet. */
  shown: Body
  create: (say: (what: string) => void) => Promise<Job>
}

/** A name from a file's: debian-12.qcow2 → debian-12 */
function baseName(file: string) {
  return file.replace(/\.(qcow2?|img|raw|vmdk|vdi|vhdx?|iso|gz|xz)$/i, '').slice(0, 80)
}

/** Suggests a name that is free, until somebody has typed another. */
function useSuggestion(form: FormState, base: string) {
  const suggested = useRef('')
  const { set } = form
  const typed = (form.get('name') as string | undefined) ?? ''
  const mine = typed === suggested.current
  useEffect(() => {
    if (!mine || !base) return
    const abort = new AbortController()
    const suggest = (name: string) => {
      suggested.current = name
      set('name', name)
    }
    listObjects('vm', { filter: filterText([contains('name', `${base}-`)]), fields: 'id,name', limit: 1000 }, abort.signal).then(
      (page) => suggest(freeName(base, page.items.map((vm) => vm.name))),
      () => abort.signal.aborted || suggest(`${base}-1`),
    )
    return () => abort.abort()
    // Asked once for each base, not for each letter.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [base])
}

function useTemplateDefaults(form: FormState, template: Template | undefined) {
  const { set } = form
  const id = template?.id
  useEffect(() => {
    if (!template) return
    for (const name of ['cpus', 'memory', 'machine', 'firmware', 'cmdline'] as const) set(name, template[name] || undefined)
    set('disks', undefined)
    set('display', template.machine === 'microvm' ? 'none' : undefined)
    // Only another template brings other defaults.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [id, set])
}

function computeProblems(plan: { form: FormState; source: Source; template: Template | undefined; upload: FileUpload | undefined }) {
  const { form, source, upload } = plan
  const out: Record<string, string> = {}
  for (const [path, text] of Object.entries(checkAll('Vm', form.values, true))) if (!path.startsWith('cloud_init') && !path.startsWith('nics')) out[path] = text
  const disks = (form.get('disks') as Body[] | undefined) ?? []
  disks.forEach((disk, index) => {
    const image = source === 'image' && index === 0
    if (!disk.size && !image) out[`disks[${index}].size`] = t('form.required')
    else if (disk.size && image && /\.(img|raw)$/i.test(upload?.file.name ?? '') && Number(disk.size) < upload!.file.size) out[`disks[${index}].size`] = t('form.min', { min: size(upload!.file.size) })
  })
  return out
}

export function usePlan(first: { template?: string; iso?: string; server?: string }): Plan {
  const form = useForm('Vm', 'create', { start: true, template: first.template, server: first.server, cdrom: first.iso })
  const [source, setSourceOnly] = useState<Source>(first.iso ? 'iso' : 'template')
  const [upload, setUpload] = useState<FileUpload>()
  const [format, setFormat] = useState('auto')
  const [ownIso, setOwnIso] = useState(false)
  const [cloudMode, setCloudMode] = useState<CloudMode>('none')
  const [cloudUser, setCloudUser] = useState(noUser)
  const templateId = source === 'template' ? (form.get('template') as string | undefined) : undefined
  const { object: template } = useObject('template', templateId)
  useTemplateDefaults(form, template)
  const base = source === 'template' ? template?.name : source === 'empty' ? 'vm' : upload ? baseName(upload.file.name) : source === 'iso' ? 'vm' : undefined
  useSuggestion(form, base ?? '')

  const { set } = form
  const setSource = (next: Source) => {
    setSourceOnly(next)
    if (next === source) return
    void upload?.cancel()
    setUpload(undefined)
    set('template', undefined)
    set('cdrom', undefined)
    for (const name of ['machine', 'firmware', 'cmdline', 'display']) set(name, undefined)
    for (const [name, value] of Object.entries(USUAL)) set(name, next === 'template' ? undefined : value)
    if (next === 'image') set('disks', [{}])
  }
  // The file goes on its way while the rest is filled in.
  const setFile = (file: File | undefined) => {
    void upload?.cancel()
    if (!file) {
      setUpload(undefined)
      return
    }
    const next = new FileUpload(file, form.get('repository') as string | undefined)
    setUpload(next)
    void next.start().catch(() => {})
  }

  const problems: Plan['problems'] = useMemo(() => {
    const from: Record<string, string> = {}
    if (source === 'template' && !templateId) from.template = t('form.required')
    if ((source === 'image' || (source === 'iso' && ownIso)) && !upload) from.file = t('form.required')
    if (source === 'iso' && !ownIso && !form.get('cdrom')) from.cdrom = t('form.required')
    const cloud = cloudMode === 'user' ? cloudProblem(cloudUser) : {}
    const network: Record<string, string> = Object.fromEntries(Object.entries(cloud).map(([name, key]) => [name, t(key)]))
    for (const [path, text] of Object.entries(checkAll('Vm', { nics: form.get('nics') }, false))) network[path] = text
    return { source: from, compute: computeProblems({ form, source, template, upload }), network }
  }, [form, source, templateId, ownIso, upload, cloudMode, cloudUser, template])

  const body = (image: string, iso: string | undefined): Body => {
    const out: Body = { ...form.body }
    delete out.template
    delete out.cdrom
    if (source !== 'template') delete out.clone
    if (!hasDevice(String(form.get('machine')))) out.display = 'none'
    if (source === 'template') out.template = form.get('template')
    if (source === 'iso') out.cdrom = iso
    if (source === 'image') {
      const [disk, ...more] = (out.disks as Body[] | undefined) ?? [{}]
      out.disks = [{ ...disk, image: { upload: image, ...(format === 'auto' ? {} : { format }) } }, ...more]
    }
    if (Array.isArray(out.disks) && !out.disks.length) delete out.disks
    return out
  }
  const shown = body(upload?.state.name ?? 'UPLOAD', ownIso ? upload && baseName(upload.file.name) : (form.get('cdrom') as string | undefined))
  if (cloudMode === 'user' && cloudUser.password) shown.cloud_init = { user_data: cloudConfig({ ...cloudUser, password: '…' }) }

  const create = async (say: (what: string) => void) => {
    let image = ''
    let iso = form.get('cdrom') as string | undefined
    if (upload) {
      say(t('vms.create_sending'))
      image = (await upload.start()).id!
    }
    if (source === 'iso' && ownIso && upload) {
      say(t('vms.create_iso'))
      const base = baseName(upload.file.name)
      const taken = await listObjects('iso', { filter: filterText([contains('name', base)]), fields: 'id,name', limit: 1000 })
      const name = taken.items.some((one) => one.name === base) ? freeName(base, taken.items.map((one) => one.name)) : base
      const job = await call('iso_create', { body: { name, image: { upload: image }, ...(form.get('repository') ? { repository: form.get('repository') } : {}) } as never })
      const ended = await jobEnd(job.id!)
      if (ended.state !== 'done') throw new ApiError(0, ended.error_code || 'internal', ended.error || ended.title || '')
      iso = job.object!.id
    }
    say(t('vms.create_making'))
    return call('vm_create', { body: body(image, iso) as never })
  }

  return { form, source, setSource, template, upload, setFile, format, setFormat, ownIso, setOwnIso, cloudMode, setCloudMode, cloudUser, setCloudUser, problems, shown, create }
}

export function cloudSummary(plan: Plan) {
  if (plan.cloudMode === 'raw') return plan.form.get('cloud_init') ? t('vms.cloud_raw') : t('vms.cloud_none')
  if (plan.cloudMode === 'none' || !cloudConfig(plan.cloudUser)) return t('vms.cloud_none')
  const keys = keysOf(plan.cloudUser).length
  return [plan.cloudUser.name || 'admin', plan.cloudUser.password ? t('vms.cloud_password') : '', keys ? t('vms.cloud_keys_count', { count: keys }) : ''].filter(Boolean).join(', ')
}
