// SPDX-License-Identifier: Apache-2.0
import RFB from '@novnc/novnc'
import { useEffect, useRef } from 'react'
import type { ScreenProps } from './Console'
import { keysFor, untypable, type Key } from './keys'

const TYPE_MS = 15

/** Presses keys in their order and lets them go in the reverse one. */
function press(rfb: RFB, keys: Key[]) {
  keys.forEach((key) => rfb.sendKey(key.keysym, key.code, true))
  ;[...keys].reverse().forEach((key) => rfb.sendKey(key.keysym, key.code, false))
}

export default function DisplayScreen({ link, wanted, scale, screen, onRelease, onSelection }: ScreenProps) {
  const box = useRef<HTMLDivElement>(null)
  const shown = useRef<RFB | undefined>(undefined)
  const latest = useRef({ onRelease, onSelection, scale })
  latest.current = { onRelease, onSelection, scale }

  useEffect(() => {
    let clipboard = ''
    let typing: number | undefined
    const stopTyping = () => window.clearTimeout(typing)
    const type = (text: string) => {
      stopTyping()
      const queue = [...text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')].flatMap((char) => keysFor(char) ?? [undefined])
      const turn = (at: number) => {
        if (!shown.current) return
        let next = at
        const keys: Key[] = []
        // A shift goes with the key behind it.
        do {
          const key = queue[next++]
          if (key) keys.push(key)
        } while (keys.length === 1 && keys[0].code === 'ShiftLeft' && next < queue.length)
        press(shown.current, keys)
        if (next < queue.length) typing = window.setTimeout(() => turn(next), TYPE_MS)
      }
      if (queue.length) turn(0)
      return untypable(text)
    }
    screen.current = {
      focus: () => shown.current?.focus(),
      type,
      press: (keys) => shown.current && press(shown.current, keys),
      selection: () => clipboard,
      picture: () => new Promise((resolve) => (shown.current ? shown.current.toBlob(resolve, 'image/png') : resolve(null))),
    }
    if (wanted) {
      link.start((socket, opened) => {
        const rfb = new RFB(box.current!, socket, { shared: true })
        shown.current = rfb
        rfb.background = 'transparent'
        rfb.scaleViewport = latest.current.scale === 'fit'
        rfb.showDotCursor = true
        rfb.addEventListener('connect', () => {
          opened()
          rfb.focus({ preventScroll: true })
        })
        rfb.addEventListener('disconnect', (event) => {
          // Closed sockets are told by themselves; this is for what the protocol's end alone tells.
          if (!(event as CustomEvent<{ clean: boolean }>).detail.clean && socket.readyState <= WebSocket.OPEN) link.broken('')
        })
        rfb.addEventListener('clipboard', (event) => {
          clipboard = (event as CustomEvent<{ text: string }>).detail.text
          latest.current.onSelection(clipboard !== '')
        })
        return () => {
          stopTyping()
          if (shown.current === rfb) shown.current = undefined
          rfb.disconnect()
        }
      })
    }
    return () => {
      link.stop()
      stopTyping()
      screen.current = undefined
    }
  }, [link, wanted, screen])

  useEffect(() => {
    if (shown.current) shown.current.scaleViewport = scale === 'fit'
  }, [scale])

  return (
    <div
      className={`tarn-console__display tarn-console__display--${scale}`}
      ref={box}
      // Before the display takes it for the guest, as it does with every other key.
      onKeyDownCapture={(event) => {
        if (!event.ctrlKey || !event.shiftKey || event.code !== 'F6') return
        event.preventDefault()
        event.stopPropagation()
        onRelease()
      }}
    />
  )
}
