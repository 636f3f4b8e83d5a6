// SPDX-License-Identifier: Apache-2.0
import '@patternfly/react-core/dist/styles/base.css'
import './console.css'
import './shell/shell.css'
import { createRoot } from 'react-dom/client'
import { App } from './App'
import { loadSession } from './api/session'
import { preferredLanguage, setLanguage } from './i18n'
import { applyTheme } from './shell/theme'

const TRIES = 5

/** The first texts: without them there is nothing to show, so a connection that breaks just then is tried again. */
async function firstTexts(tries = TRIES): Promise<void> {
  try {
    await setLanguage(preferredLanguage(), false)
  } catch (error) {
    if (tries <= 1) throw error
    await new Promise((resolve) => setTimeout(resolve, 500))
    await firstTexts(tries - 1)
  }
}

applyTheme()
const texts = firstTexts()
await loadSession()
await texts
createRoot(document.getElementById('root')!).render(<App />)
