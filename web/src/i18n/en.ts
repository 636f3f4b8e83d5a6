// SPDX-License-Identifier: Apache-2.0
import { flatten, type Texts } from './index'

export default flatten(import.meta.glob<Texts>('./en/*.json', { eager: true, import: 'default' }))
