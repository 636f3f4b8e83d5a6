// SPDX-License-Identifier: Apache-2.0
import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import '@xterm/xterm/css/xterm.css'
import { useEffect, useRef } from 'react'
import { t } from '@/i18n'
import type { ScreenProps } from './Console'
import { limitRepeats, WAITING_MAX } from './limits'
import { joined, Tail } from './resume'
import { strictDocument } from './styles'

const CHUNK = 128
const CHUNK_MS = 12
/** How long the replay of what was before may take to arrive. */
const REPLAY_MS = 150
const FONT = { least: 8, most: 32, usual: 14 }

const COLORS = { background: '#151515', foreground: '#e8e8e8', cursor: '#e8e8e8', selectionBackground: '#4d6a8f' }

function storedFont() {
  const size = Number(localStorage.getItem('tarn.console.font'))
  return size >= FONT.least && size <= FONT.most ? size : FONT.usual
}

/** Sends at about the pace of a serial line: a guest's line buffer is small, and what does not fit is lost. */
class Pacer {
  private queue: Uint8Array[] = []
  private timer: number | undefined
  socket: WebSocket | undefined

  send(bytes: Uint8Array) {
    const last = this.queue[this.queue.length - 1]
    if (this.queue.length * CHUNK > WAITING_MAX) return
    if (last && last.length + bytes.length <= CHUNK) this.queue[this.queue.length - 1] = joined([last, bytes])
    else for (let at = 0; at < bytes.length; at += CHUNK) this.queue.push(bytes.slice(at, at + CHUNK))
    if (this.timer === undefined) this.turn()
  }

  clear() {
    window.clearTimeout(this.timer)
    this.timer = undefined
    this.queue = []
  }

  private turn = () => {
    this.timer = undefined
    const next = this.queue.shift()
    if (next && this.socket?.readyState === WebSocket.OPEN) this.socket.send(next)
    if (this.queue.length) this.timer = window.setTimeout(this.turn, CHUNK_MS)
  }
}

/** Shows a socket's bytes in the terminal, without what it shows already when the socket replaces an earlier one. */
function show(terminal: Terminal, tail: Tail, socket: WebSocket) {
  const write = (bytes: Uint8Array) => {
    tail.add(bytes)
    terminal.write(bytes)
  }
  let replay: Uint8Array[] | undefined = []
  let timer: number | undefined
  const settle = () => {
    const all = joined(replay ?? [])
    replay = undefined
    const fresh = tail.newIn(all)
    if (!fresh) {
      terminal.reset()
      tail.clear()
    }
    write(fresh ?? all)
  }
  socket.onmessage = (event) => {
    const bytes = new Uint8Array(event.data as ArrayBuffer)
    if (!replay) {
      write(bytes)
      return
    }
    replay.push(bytes)
    timer ??= window.setTimeout(settle, REPLAY_MS)
  }
  return () => {
    window.clearTimeout(timer)
    socket.onmessage = null
  }
}

export default function SerialScreen({ link, wanted, screen, onRelease, onSelection }: ScreenProps) {
  const box = useRef<HTMLDivElement>(null)
  const latest = useRef({ onRelease, onSelection })
  latest.current = { onRelease, onSelection }

  useEffect(() => {
    const terminal = new Terminal({
      documentOverride: strictDocument(document),
      fontFamily: '"DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", "Noto Sans Mono CJK SC", monospace',
      fontSize: storedFont(),
      // Below 1.1 some fonts' underscores are cut off.
      lineHeight: 1.15,
      scrollback: 10000,
      cursorBlink: true,
      theme: COLORS,
      screenReaderMode: false,
    })
    limitRepeats(terminal)
    const fit = new FitAddon()
    terminal.loadAddon(fit)
    terminal.open(box.current!)
    terminal.textarea?.setAttribute('aria-label', t('console.serial_input'))
    const refit = () => box.current?.clientWidth && fit.fit()
    refit()
    const observer = new ResizeObserver(refit)
    observer.observe(box.current!)

    const encoder = new TextEncoder()
    const tail = new Tail()
    const pacer = new Pacer()
    const send = (text: string) => pacer.send(encoder.encode(text))
    terminal.onData(send)
    terminal.onBinary((data) => pacer.send(Uint8Array.from(data, (char) => char.charCodeAt(0))))
    terminal.onSelectionChange(() => latest.current.onSelection(terminal.hasSelection()))
    terminal.attachCustomKeyEventHandler((event) => {
      if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey) return true
      if (event.code === 'KeyC' && terminal.hasSelection()) void navigator.clipboard?.writeText(terminal.getSelection())
      else if (event.code === 'F6') latest.current.onRelease()
      // Pasting is the browser's: it makes a paste event of Ctrl+Shift+V by itself.
      else return event.code !== 'KeyV'
      event.preventDefault()
      return false
    })
    const setFont = (step: number) => {
      terminal.options.fontSize = Math.min(FONT.most, Math.max(FONT.least, (terminal.options.fontSize ?? FONT.usual) + step))
      localStorage.setItem('tarn.console.font', String(terminal.options.fontSize))
      refit()
    }
    screen.current = {
      focus: () => terminal.focus(),
      type: (text) => {
        terminal.paste(text)
        return []
      },
      send,
      selection: () => terminal.getSelection(),
      clear: () => terminal.clear(),
      zoom: setFont,
      size: () => ({ rows: terminal.rows, columns: terminal.cols }),
    }
    if (wanted) {
      link.start((socket, opened) => {
        pacer.socket = socket
        const hide = show(terminal, tail, socket)
        socket.addEventListener('open', () => {
          opened()
          terminal.focus()
        })
        return () => {
          hide()
          pacer.clear()
        }
      })
    }
    return () => {
      link.stop()
      pacer.clear()
      observer.disconnect()
      screen.current = undefined
      terminal.dispose()
    }
  }, [link, wanted, screen])

  return <div className="tarn-console__terminal" ref={box} />
}
