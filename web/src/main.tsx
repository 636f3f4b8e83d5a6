// SPDX-License-Identifier: Apache-2.0
import '@patternfly/react-core/dist/styles/base.css'
import './console.css'
import './shell/shell.css'
import { createRoot } from 'react-dom/client'
import { App } from './App'
import { loadSession } from './api/session'
import { preferredLanguage, setLanguage } from './i18n'
import { applyTheme } from './shell/theme'

applyTheme()
await Promise.all([setLanguage(preferredLanguage(), false), loadSession()])
createRoot(document.getElementById('root')!).render(<App />)
