// SPDX-License-Identifier: Apache-2.0
import { useSyncExternalStore } from 'react'

export type Theme = 'light' | 'dark' | 'system'

const dark = window.matchMedia('(prefers-color-scheme: dark)')
const listeners = new Set<() => void>()

export function chosenTheme(): Theme {
  const stored = localStorage.getItem('tarn.theme')
  return stored === 'light' || stored === 'dark' ? stored : 'system'
}

function isDark() {
  const theme = chosenTheme()
  return theme === 'dark' || (theme === 'system' && dark.matches)
}

export function applyTheme() {
  document.documentElement.classList.toggle('pf-v6-theme-dark', isDark())
  listeners.forEach((tell) => tell())
}

export function setTheme(theme: Theme) {
  localStorage.setItem('tarn.theme', theme)
  applyTheme()
}

dark.addEventListener('change', applyTheme)

/** The theme that is in force: those who draw by themselves draw anew when it changes. */
export function useTheme() {
  return useSyncExternalStore((listener) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }, isDark)
    ? 'dark'
    : 'light'
}
