// SPDX-License-Identifier: Apache-2.0
// Keys for a guest's display: combinations that the browser or its user's system would keep, and text as key presses on a
// US keyboard, which is what a guest's virtual keyboard is.

export interface Key {
  /** X11's number of what the key means. */
  keysym: number
  /** The key's place, as KeyboardEvent.code. */
  code: string
}

export const CTRL: Key = { keysym: 0xffe3, code: 'ControlLeft' }
export const ALT: Key = { keysym: 0xffe9, code: 'AltLeft' }
export const SHIFT: Key = { keysym: 0xffe1, code: 'ShiftLeft' }
export const SUPER: Key = { keysym: 0xffeb, code: 'MetaLeft' }
export const TAB: Key = { keysym: 0xff09, code: 'Tab' }
export const ENTER: Key = { keysym: 0xff0d, code: 'Enter' }
export const ESCAPE: Key = { keysym: 0xff1b, code: 'Escape' }
export const DELETE: Key = { keysym: 0xffff, code: 'Delete' }
export const BACKSPACE: Key = { keysym: 0xff08, code: 'Backspace' }
export const PRINT: Key = { keysym: 0xff61, code: 'PrintScreen' }
const SYSRQ: Key = { keysym: 0xff15, code: 'PrintScreen' }

export function functionKey(number: number): Key {
  return { keysym: 0xffbd + number, code: `F${number}` }
}

export function letter(char: string): Key {
  return { keysym: char.charCodeAt(0), code: `Key${char.toUpperCase()}` }
}

export interface Combination {
  /** console.key_ID names it; otherwise its label is what is printed on keys, the same in every language. */
  id: string
  label: string
  keys: Key[]
}

export const COMBINATIONS: Combination[] = [
  { id: 'cad', label: 'Ctrl+Alt+Del', keys: [CTRL, ALT, DELETE] },
  { id: 'cab', label: 'Ctrl+Alt+Backspace', keys: [CTRL, ALT, BACKSPACE] },
  { id: 'at', label: 'Alt+Tab', keys: [ALT, TAB] },
  { id: 'af4', label: 'Alt+F4', keys: [ALT, functionKey(4)] },
  { id: 'ce', label: 'Ctrl+Esc', keys: [CTRL, ESCAPE] },
  { id: 'super', label: 'Super', keys: [SUPER] },
  { id: 'print', label: 'Print', keys: [PRINT] },
]

export const VIRTUAL_TERMINALS: Combination[] = Array.from({ length: 12 }, (_, i) => ({
  id: `vt${i + 1}`,
  label: `Ctrl+Alt+F${i + 1}`,
  keys: [CTRL, ALT, functionKey(i + 1)],
}))

/** Alt+SysRq+LETTER, Linux's way to a kernel whose programs no longer answer; console.sysrq_LETTER says what each does. */
export const SYSRQS: Combination[] = ['h', 's', 'u', 'e', 'i', 'b', 'o', 't', 'w'].map((char) => ({
  id: char,
  label: `Alt+SysRq+${char.toUpperCase()}`,
  keys: [ALT, SYSRQ, letter(char)],
}))

const PLAIN: Record<string, string> = {
  ' ': 'Space', '-': 'Minus', '=': 'Equal', '[': 'BracketLeft', ']': 'BracketRight', '\\': 'Backslash', ';': 'Semicolon', "'": 'Quote', '`': 'Backquote', ',': 'Comma', '.': 'Period', '/': 'Slash',
}
const SHIFTED: Record<string, string> = {
  '!': 'Digit1', '@': 'Digit2', '#': 'Digit3', $: 'Digit4', '%': 'Digit5', '^': 'Digit6', '&': 'Digit7', '*': 'Digit8', '(': 'Digit9', ')': 'Digit0',
  _: 'Minus', '+': 'Equal', '{': 'BracketLeft', '}': 'BracketRight', '|': 'Backslash', ':': 'Semicolon', '"': 'Quote', '~': 'Backquote', '<': 'Comma', '>': 'Period', '?': 'Slash',
}

/** The keys to press for a character, or nothing if the keyboard has none for it. */
export function keysFor(char: string): Key[] | undefined {
  if (char === '\n') return [ENTER]
  if (char === '\t') return [TAB]
  const keysym = char.codePointAt(0)!
  if (/^[a-z]$/.test(char)) return [{ keysym, code: `Key${char.toUpperCase()}` }]
  if (/^[A-Z]$/.test(char)) return [SHIFT, { keysym, code: `Key${char}` }]
  if (/^[0-9]$/.test(char)) return [{ keysym, code: `Digit${char}` }]
  if (char in PLAIN) return [{ keysym, code: PLAIN[char] }]
  if (char in SHIFTED) return [SHIFT, { keysym, code: SHIFTED[char] }]
  return undefined
}

/** The characters of a text that cannot be typed, each once. */
export function untypable(text: string): string[] {
  return [...new Set([...text.replaceAll('\r', '')].filter((char) => !keysFor(char)))]
}
