// SPDX-License-Identifier: Apache-2.0
import { enumLabel, flatten, hasText, type Texts } from './index'
import { translator } from './said'
import table from './said/zh.json'

export default flatten(import.meta.glob<Texts>('./zh/*.json', { eager: true, import: 'default' }))

/** States, as they stand in what the manager says. */
const state = (word: string) => (hasText(`enum.${word}`) ? enumLabel(undefined, word) : undefined)

export const said = translator(table, state)
