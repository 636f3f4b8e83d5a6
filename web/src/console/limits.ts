// SPDX-License-Identifier: Apache-2.0
// What a guest may make the terminal do. Whoever writes to a serial line would else stop the browser of everybody who looks at it.
import type { Terminal } from '@xterm/xterm'

/** More than any screen has rows, columns or tab stops. */
const REPEATS_MAX = 1000

/** Insert and delete lines, scroll up and down, tab and tab back, repeat: the terminal does each as often as it is told. */
const REPEATING = ['L', 'M', 'S', 'T', 'I', 'Z', 'b']

export const isTooOften = (params: (number | number[])[]) => typeof params[0] === 'number' && params[0] > REPEATS_MAX

/** Leaves out what would take for ever, two thousand million scrolled lines in one sequence. */
export function limitRepeats(terminal: Terminal) {
  for (const final of REPEATING) terminal.parser.registerCsiHandler({ final }, isTooOften)
}

/** Bytes that wait to be sent: a guest may ask the terminal questions faster than its line takes the answers. */
export const WAITING_MAX = 4 << 20
