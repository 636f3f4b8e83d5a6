// SPDX-License-Identifier: Apache-2.0
import { said } from '@/i18n'
import { reasonsOf } from './reasons'

/** What the manager says of an error or a state; of several servers one below the other. */
export function Reason({ text }: { text: string }) {
  const reasons = reasonsOf(text)
  if (!reasons) return <>{said(text)}</>
  return (
    <>
      {reasons.head}
      <ul className="tarn-reasons">
        {reasons.servers.map((server) => (
          <li key={server.name}>
            <strong>{server.name}</strong> {server.why}
          </li>
        ))}
        {reasons.more ? <li>…</li> : null}
      </ul>
    </>
  )
}
