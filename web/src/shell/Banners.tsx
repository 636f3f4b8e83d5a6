// SPDX-License-Identifier: Apache-2.0
// What everybody has to know: the manager is not there, or its store takes no changes.
import { Banner } from '@patternfly/react-core'
import { useEffect, useState } from 'react'
import { call } from '@/api/client'
import { t } from '@/i18n'
import { useConnection, useReadOnly } from '@/live/hooks'
import { live } from '@/live/store'

const LOST_AFTER_MS = 1500
const READ_ONLY_MS = 5000
const ABOUT_MS = 60000

export function Banners() {
  const connection = useConnection()
  const readOnly = useReadOnly()
  const [lost, setLost] = useState(false)
  useEffect(() => {
    if (connection !== 'lost') {
      setLost(false)
      return
    }
    // A connection that is made again at once is nobody's concern.
    const timer = window.setTimeout(() => setLost(true), LOST_AFTER_MS)
    return () => window.clearTimeout(timer)
  }, [connection])
  useEffect(() => {
    if (connection !== 'live') return
    const ask = () => {
      if (document.hidden) return
      void call('about').then(
        (about) => live.setReadOnly(about.read_only ? about.read_only_reason || t('shell.read_only') : ''),
        () => {},
      )
    }
    ask()
    const timer = window.setInterval(ask, readOnly ? READ_ONLY_MS : ABOUT_MS)
    return () => window.clearInterval(timer)
  }, [connection, readOnly])
  return (
    <div role="status" aria-live="polite">
      {lost ? (
        <Banner status="danger" className="tarn-banner">
          {t('shell.unreachable')}
        </Banner>
      ) : null}
      {!lost && readOnly ? (
        <Banner status="warning" className="tarn-banner">
          {t('shell.read_only')} {readOnly}
        </Banner>
      ) : null}
    </div>
  )
}
