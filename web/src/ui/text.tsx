// SPDX-License-Identifier: Apache-2.0
// Small parts that show one value.
import { Label, Tooltip } from '@patternfly/react-core'
import { useEffect, useState } from 'react'
import { Link } from 'react-router-dom'
import type { Kind } from '@/api/types'
import { absoluteTime, relativeTime, size } from '@/i18n/format'
import { enumLabel, said, t } from '@/i18n'
import { useName } from '@/live/hooks'
import { pathFor } from '@/shell/paths'
import { StateIcon, stateColor } from './StateIcon'

/** A state with its icon; the reason is the tooltip. */
export function StateLabel({ schema, state, reason, compact }: { schema: string; state: string; reason?: string; compact?: boolean }) {
  const text = enumLabel(schema, state)
  const label = compact ? (
    <span className="tarn-state">
      <StateIcon state={state} /> {text}
    </span>
  ) : (
    <Label variant="outline" icon={<StateIcon state={state} />} color={stateColor(state)}>
      {text}
    </Label>
  )
  return reason ? <Tooltip content={said(reason)}>{<span tabIndex={0}>{label}</span>}</Tooltip> : label
}

const listeners = new Set<() => void>()
let ticking: number | undefined
/** Renders again now and then, so that "5 minutes ago" stays true; one timer for all. */
function useClock() {
  const [, set] = useState(0)
  useEffect(() => {
    const tick = () => set((n) => n + 1)
    listeners.add(tick)
    ticking ??= window.setInterval(() => listeners.forEach((tell) => tell()), 15000)
    return () => {
      listeners.delete(tick)
      if (!listeners.size) {
        window.clearInterval(ticking)
        ticking = undefined
      }
    }
  }, [])
}

/** "5 minutes ago", with the exact time as its tooltip. */
export function Time({ value }: { value: string | undefined }) {
  useClock()
  if (!value) return <span className="tarn-dim">–</span>
  return (
    <Tooltip content={absoluteTime(value)} entryDelay={200}>
      <time dateTime={value}>{relativeTime(value)}</time>
    </Tooltip>
  )
}

/** 1.5 GiB, with the bytes as its tooltip. */
export function Size({ value }: { value: number | undefined }) {
  if (value === undefined) return <span className="tarn-dim">–</span>
  return <span title={`${value} B`}>{size(value)}</span>
}

/** The name of an object, as a link to its page. */
export function RefLink({ kind, id, name }: { kind: Kind; id: string | undefined; name?: string }) {
  const known = useName(kind, name ? undefined : id)
  if (!id) return <span className="tarn-dim">–</span>
  const text = name || known
  if (!text) return <span className="tarn-dim">…</span>
  const to = pathFor(kind, id)
  return to ? <Link to={to}>{text}</Link> : <>{text}</>
}

export function Yes({ value }: { value: boolean | undefined }) {
  return <>{t(value ? 'ui.yes' : 'ui.no')}</>
}

export function Tags({ tags }: { tags: string[] | undefined }) {
  if (!tags?.length) return <span className="tarn-dim">–</span>
  return (
    <>
      {tags.map((tag) => (
        <Label key={tag} isCompact className="tarn-tag">
          {tag}
        </Label>
      ))}
    </>
  )
}

export function Dash() {
  return <span className="tarn-dim">–</span>
}
