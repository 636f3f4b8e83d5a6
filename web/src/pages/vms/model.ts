// SPDX-License-Identifier: Apache-2.0
// What holds of virtual machines on every page of theirs.
import { schemas } from '@/api/description'
import type { Vm, VmDisk } from '@/api/types'
import { isEnded } from '@/ui/JobBadge'
import { live } from '@/live/store'
import type { Job } from '@/api/types'

/** What may change while it runs (src/core/op_vm.c); the rest only while it is stopped. */
const LIGHT = new Set(['name', 'description', 'tags', 'restart_policy', 'ha'])

export const isStopped = (vm: Vm) => vm.state === 'stopped' || vm.state === 'crashed'

export function mayChange(vm: Vm, fields: string[]) {
  return isStopped(vm) || fields.every((field) => LIGHT.has(field.split('.')[0]))
}

/** Settings in groups; a field that the API gets later stands under "more" by itself. */
const GROUPS: [id: string, fields: string[]][] = [
  ['general', ['name', 'description', 'tags', 'restart_policy']],
  ['compute', ['cpus', 'sockets', 'memory']],
  ['machine', ['machine', 'firmware', 'boot_order', 'display', 'cmdline']],
  ['ha', ['ha']],
  ['limits', ['limits']],
]
/** Shown on tabs of their own. */
const ELSEWHERE = ['disks', 'nics', 'cloud_init']

/** The paths of a field's leaves: ha → ha.enabled, ha.priority … */
function leaves(name: string): string[] {
  const field = schemas.Vm.fields[name]
  if (field?.type !== 'object' || field.array) return [name]
  return Object.entries(schemas[field.schema!].fields).flatMap(([inner, f]) => (f.change ? [`${name}.${inner}`] : []))
}

export function settingGroups(vm: Vm): { id: string; fields: string[] }[] {
  const all = Object.entries(schemas.Vm.fields).flatMap(([name, field]) => (field.change && !ELSEWHERE.includes(name) ? [name] : []))
  const grouped = GROUPS.map(([id, fields]) => ({ id, fields: fields.filter((name) => all.includes(name) && (name !== 'cmdline' || vm.direct_boot) && (name !== 'display' || hasDevice(vm.machine))) }))
  const known = new Set(GROUPS.flatMap(([, fields]) => fields))
  grouped.push({ id: 'more', fields: all.filter((name) => !known.has(name)) })
  return grouped.filter((group) => group.fields.length).map((group) => ({ id: group.id, fields: group.fields.flatMap(leaves) }))
}

const ALIVE = new Set(['starting', 'running', 'stopping', 'suspended', 'migrating'])
export const hasConsole = (vm: Vm) => ALIVE.has(vm.state)

/** A microvm has no display device, whatever its setting says. */
export const hasDevice = (machine: string | undefined) => machine !== 'microvm'
export const hasDisplay = (vm: Vm) => vm.display === 'vnc' && hasDevice(vm.machine)

export const isCd = (disk: VmDisk) => !!disk.cdrom || !!disk.iso

/** As it may be sent back: without what is taken at creation only. */
export function plainDisks(vm: Vm): VmDisk[] {
  const inner = schemas.VmDisk.fields
  return (vm.disks ?? []).map((disk) => Object.fromEntries(Object.entries(disk).filter(([name, value]) => !inner[name]?.input && value !== '' && value !== undefined)) as VmDisk)
}

/** The job when it has ended. */
export function jobEnd(id: string): Promise<Job> {
  return new Promise((resolve) => {
    const watch = live.object('job', id)
    const check = () => {
      const job = watch.snapshot().object
      if (!job || !isEnded(job)) return
      resolve(job)
      // Not inside its own first call.
      queueMicrotask(() => stop())
    }
    const stop = watch.subscribe(check)
    check()
  })
}

/** BASE-1, or the first free one after it. */
export function freeName(base: string, taken: Iterable<string>) {
  const names = new Set(taken)
  for (let n = 1; ; n++) if (!names.has(`${base}-${n}`)) return `${base}-${n}`
}
