// SPDX-License-Identifier: Apache-2.0
import type { Template } from '@/api/types'

export function diskTotal(template: Template) {
  return (template.disks ?? []).reduce((sum, disk) => sum + (disk.size ?? 0), 0)
}
