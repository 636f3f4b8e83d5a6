// SPDX-License-Identifier: Apache-2.0
import { languageTag, t } from './index'

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export function number(value: number, digits = 0) {
  return value.toLocaleString(languageTag(), { maximumFractionDigits: digits })
}

/** 1536 MiB as 1.5 GiB; binary units, as everywhere in Tarn. */
export function size(bytes: number | undefined) {
  if (bytes === undefined || !Number.isFinite(bytes)) return '–'
  let value = bytes
  let unit = 0
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${number(value, value >= 100 || unit === 0 ? 0 : value >= 10 ? 1 : 2)} ${UNITS[unit]}`
}

export function rate(bytes: number | undefined) {
  return bytes === undefined ? '–' : `${size(bytes)}/s`
}

export function percent(fraction: number, digits = 0) {
  return `${number(fraction * 100, digits)} %`
}

export function absoluteTime(text: string) {
  const date = new Date(text)
  if (Number.isNaN(date.getTime())) return text
  return date.toLocaleString(languageTag(), { dateStyle: 'medium', timeStyle: 'medium' })
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31536000],
  ['month', 2592000],
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
]

/** "5 minutes ago"; now is a parameter for tests. */
export function relativeTime(text: string, now = Date.now()) {
  const seconds = (new Date(text).getTime() - now) / 1000
  if (Number.isNaN(seconds)) return text
  const format = new Intl.RelativeTimeFormat(languageTag(), { numeric: 'auto' })
  for (const [unit, length] of STEPS) {
    if (Math.abs(seconds) >= length) return format.format(Math.trunc(seconds / length), unit)
  }
  return Math.abs(seconds) < 10 ? t('ui.now') : format.format(Math.trunc(seconds), 'second')
}

/** Seconds as 1 h 5 min. */
export function duration(seconds: number) {
  const s = Math.max(0, Math.round(seconds))
  const parts: [number, string][] = [
    [Math.floor(s / 86400), t('ui.unit_days')],
    [Math.floor(s / 3600) % 24, t('ui.unit_hours')],
    [Math.floor(s / 60) % 60, t('ui.unit_minutes')],
    [s % 60, t('ui.unit_seconds')],
  ]
  const first = parts.findIndex(([n]) => n > 0)
  if (first < 0) return `${seconds > 0 && seconds < 1 ? number(seconds, 1) : 0} ${t('ui.unit_seconds')}`
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ')
}
