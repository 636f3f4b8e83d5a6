// SPDX-License-Identifier: Apache-2.0
// What is wrong now, as the manager sees it.
import { hasOperation } from '@/api/kinds'

export interface Alarm {
  id: string
}

export function useAlarms(): Alarm[] {
  return hasOperation('alarm_list') ? [] : []
}

export function Alarms({ alarms }: { alarms: Alarm[] }) {
  return alarms.length ? null : null
}
