// SPDX-License-Identifier: Apache-2.0
// What this browser remembers may be anything: of an older console, of another program, of somebody who has tried it out.

/** What was stored as JSON, if it is what is wanted. */
export function remembered<T>(key: string, wanted: (value: unknown) => value is T, otherwise: T): T {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(key) ?? 'null')
    return wanted(value) ? value : otherwise
  } catch {
    return otherwise
  }
}

export const isStrings = (value: unknown): value is string[] => Array.isArray(value) && value.every((item) => typeof item === 'string')
export const isChoices = (value: unknown): value is Record<string, boolean> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((item) => typeof item === 'boolean')
export const isBetween = (least: number, most: number) => (value: unknown): value is number => typeof value === 'number' && value >= least && value <= most
