// SPDX-License-Identifier: Apache-2.0
// Why none of several servers will do is one line as the manager says it; people read it server by server.
import { said } from '@/i18n'

export interface Reasons {
  head: string
  servers: { name: string; why: string }[]
  /** There were more than a line holds. */
  more: boolean
}

/** no server can take virtual machine "v": server "a" is …; server "b" has … – in the user's language; nothing if it is no such line. */
export function reasonsOf(text: string): Reasons | undefined {
  const line = /^([^]*?): (server "[^]+)$/.exec(text)
  if (!line) return undefined
  const servers: Reasons['servers'] = []
  let more = false
  for (const piece of line[2].split(/; (?=server "|and more$)/)) {
    const one = /^server "([^"]+)" ([^]+)$/.exec(piece)
    if (one) servers.push({ name: one[1], why: said(one[2]) })
    else more = true
  }
  if (servers.length < 2) return undefined
  return { head: said(`${line[1]}: …`).replace(/(: |：)…$/, ''), servers, more }
}
