// SPDX-License-Identifier: Apache-2.0
// What kind of thing it is, and in the corner how it is.
import AsleepIcon from '@patternfly/react-icons/dist/esm/icons/asleep-icon'
import BlueprintIcon from '@patternfly/react-icons/dist/esm/icons/blueprint-icon'
import ResourcePoolIcon from '@patternfly/react-icons/dist/esm/icons/resource-pool-icon'
import CubeIcon from '@patternfly/react-icons/dist/esm/icons/cube-icon'
import DatabaseIcon from '@patternfly/react-icons/dist/esm/icons/database-icon'
import ListIcon from '@patternfly/react-icons/dist/esm/icons/list-icon'
import NetworkIcon from '@patternfly/react-icons/dist/esm/icons/network-icon'
import ServerIcon from '@patternfly/react-icons/dist/esm/icons/server-icon'
import TaskIcon from '@patternfly/react-icons/dist/esm/icons/task-icon'
import UserIcon from '@patternfly/react-icons/dist/esm/icons/user-icon'
import DesktopIcon from '@patternfly/react-icons/dist/esm/icons/desktop-icon'
import VolumeIcon from '@patternfly/react-icons/dist/esm/icons/volume-icon'
import type { ComponentType } from 'react'

const ICONS: Record<string, ComponentType> = {
  pool: ResourcePoolIcon,
  server: ServerIcon,
  vm: DesktopIcon,
  repository: DatabaseIcon,
  template: BlueprintIcon,
  network: NetworkIcon,
  disk: VolumeIcon,
  image: VolumeIcon,
  user: UserIcon,
  rule: ListIcon,
  job: TaskIcon,
  snapshot: AsleepIcon,
}

// Calm things have no mark: what one looks for is what runs, and what is wrong.
const MARKS: Record<string, string> = {
  running: 'good',
  suspended: 'pause',
  crashed: 'bad',
  unknown: 'warn',
  offline: 'bad',
  unavailable: 'bad',
  creating: 'busy',
  deleting: 'busy',
  starting: 'busy',
  stopping: 'busy',
  migrating: 'busy',
  draining: 'busy',
}

export function KindIcon({ kind, state, maintenance }: { kind: string; state?: string; maintenance?: string }) {
  const Icon = ICONS[kind] ?? CubeIcon
  const mark = (maintenance && maintenance !== 'off' ? 'maintenance' : undefined) ?? (state ? MARKS[state] : undefined)
  return (
    <span className={`tarn-kind tarn-kind--${state === 'stopped' || state === 'offline' ? 'off' : 'on'}`} aria-hidden="true">
      <Icon />
      {mark ? <span className={`tarn-mark tarn-mark--${mark}`} /> : null}
    </span>
  )
}
