// SPDX-License-Identifier: Apache-2.0
// A part that fails takes nothing else with it.
import { Component, type ReactNode } from 'react'
import { t } from '@/i18n'

export class Guard extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false }

  static getDerivedStateFromError() {
    return { failed: true }
  }

  override render() {
    if (!this.state.failed) return this.props.children
    return (
      <p className="tarn-guard">
        {t('shell.part_failed')}{' '}
        <button type="button" onClick={() => this.setState({ failed: false })}>
          {t('shell.reload')}
        </button>
      </p>
    )
  }
}
