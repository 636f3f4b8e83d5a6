// SPDX-License-Identifier: Apache-2.0
// The state of anything, told by shape as well as by colour.
import type { LabelProps } from '@patternfly/react-core'
import BanIcon from '@patternfly/react-icons/dist/esm/icons/ban-icon'
import CheckCircleIcon from '@patternfly/react-icons/dist/esm/icons/check-circle-icon'
import ExclamationCircleIcon from '@patternfly/react-icons/dist/esm/icons/exclamation-circle-icon'
import ExclamationTriangleIcon from '@patternfly/react-icons/dist/esm/icons/exclamation-triangle-icon'
import InfoCircleIcon from '@patternfly/react-icons/dist/esm/icons/info-circle-icon'
import PauseCircleIcon from '@patternfly/react-icons/dist/esm/icons/pause-circle-icon'
import PlayIcon from '@patternfly/react-icons/dist/esm/icons/play-icon'
import QuestionCircleIcon from '@patternfly/react-icons/dist/esm/icons/question-circle-icon'
import StopIcon from '@patternfly/react-icons/dist/esm/icons/stop-icon'
import SyncAltIcon from '@patternfly/react-icons/dist/esm/icons/sync-alt-icon'
import UndoIcon from '@patternfly/react-icons/dist/esm/icons/undo-icon'
import WrenchIcon from '@patternfly/react-icons/dist/esm/icons/wrench-icon'
import PendingIcon from '@patternfly/react-icons/dist/esm/icons/pending-icon'
import type { ComponentType } from 'react'

type Look = [icon: ComponentType<{ className?: string }>, tone: 'good' | 'bad' | 'warn' | 'info' | 'busy' | 'off']

const LOOKS: Record<string, Look> = {
  // virtual machines
  running: [PlayIcon, 'good'],
  stopped: [StopIcon, 'off'],
  starting: [SyncAltIcon, 'busy'],
  stopping: [SyncAltIcon, 'busy'],
  migrating: [SyncAltIcon, 'busy'],
  creating: [SyncAltIcon, 'busy'],
  deleting: [SyncAltIcon, 'busy'],
  suspended: [PauseCircleIcon, 'info'],
  crashed: [ExclamationCircleIcon, 'bad'],
  unknown: [QuestionCircleIcon, 'warn'],
  // servers, storage, pools
  online: [CheckCircleIcon, 'good'],
  offline: [ExclamationCircleIcon, 'bad'],
  maintenance: [WrenchIcon, 'info'],
  on: [WrenchIcon, 'info'],
  draining: [SyncAltIcon, 'busy'],
  joining: [SyncAltIcon, 'busy'],
  ready: [CheckCircleIcon, 'good'],
  healthy: [CheckCircleIcon, 'good'],
  degraded: [ExclamationTriangleIcon, 'warn'],
  unavailable: [ExclamationCircleIcon, 'bad'],
  failed: [ExclamationCircleIcon, 'bad'],
  fenced: [BanIcon, 'bad'],
  // jobs and steps
  queued: [PendingIcon, 'off'],
  pending: [PendingIcon, 'off'],
  done: [CheckCircleIcon, 'good'],
  undoing: [UndoIcon, 'warn'],
  undone: [UndoIcon, 'warn'],
  aborted: [BanIcon, 'warn'],
  skipped: [BanIcon, 'off'],
  // uploads
  open: [SyncAltIcon, 'busy'],
  complete: [CheckCircleIcon, 'good'],
  // severities
  info: [InfoCircleIcon, 'info'],
  warning: [ExclamationTriangleIcon, 'warn'],
  error: [ExclamationCircleIcon, 'bad'],
  critical: [ExclamationCircleIcon, 'bad'],
}

const TONES: Record<Look[1], LabelProps['color']> = { good: 'green', bad: 'red', warn: 'orange', info: 'blue', busy: 'blue', off: 'grey' }

/** For a job that runs, use state="busy". */
export function StateIcon({ state, label }: { state: string; label?: string }) {
  const [Icon, tone] = state === 'busy' ? ([SyncAltIcon, 'busy'] as Look) : (LOOKS[state] ?? ([QuestionCircleIcon, 'off'] as Look))
  return (
    <span className={`tarn-icon tarn-icon--${tone}`} role={label ? 'img' : undefined} aria-label={label} title={label}>
      <Icon />
    </span>
  )
}

export function stateColor(state: string) {
  return TONES[LOOKS[state]?.[1] ?? 'off']
}
