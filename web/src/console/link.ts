// SPDX-License-Identifier: Apache-2.0
// The WebSocket of a console, made again when it breaks: soon, then less and less often, and always with the reason told.
import { pathOf, request } from '@/api/client'
import { expireSession, session } from '@/api/session'

export type ConsoleType = 'serial' | 'vnc'

export interface LinkState {
  /** off: nobody wants it; waiting: it broke and is made again at retryAt; ended: only if somebody asks for it. */
  phase: 'off' | 'connecting' | 'open' | 'waiting' | 'ended'
  /** Why it broke. */
  code?: number
  reason?: string
  retryAt?: number
}

/** What shows the console: given each new socket; returns what to call when that socket is done with. */
export type Attach = (socket: WebSocket, opened: () => void) => () => void

export const SESSION_ENDED = 4401
export const ROLE_CHANGED = 4403
export const VM_STOPPED = 4010
const TAKEN = 4014
// What would only break again, or take the display away from somebody.
const FINAL = new Set([ROLE_CHANGED, TAKEN])

const WAITS = [300, 1000, 2000, 5000, 10000]
const STEADY_MS = 5000

export class ConsoleLink {
  private state: LinkState = { phase: 'off' }
  private listeners = new Set<() => void>()
  private attach: Attach | undefined
  private socket: WebSocket | undefined
  private detach: (() => void) | undefined
  private timer: number | undefined
  private tries = 0
  private openedAt = 0

  constructor(
    readonly vm: string,
    readonly type: ConsoleType,
  ) {}

  subscribe = (listener: () => void) => {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }
  snapshot = () => this.state

  private set(state: LinkState) {
    this.state = state
    this.listeners.forEach((tell) => tell())
  }

  start(attach: Attach) {
    this.attach = attach
    this.tries = 0
    this.connect()
  }

  stop() {
    this.attach = undefined
    this.drop()
    this.set({ phase: 'off' })
  }

  /** Now, rather than when its time has come. */
  retry = () => {
    if (!this.attach) return
    this.tries = 0
    this.connect()
  }

  private drop() {
    window.clearTimeout(this.timer)
    const { socket, detach } = this
    this.socket = this.detach = undefined
    detach?.()
    socket?.close()
  }

  private connect() {
    this.drop()
    this.set({ ...this.state, phase: 'connecting', retryAt: undefined })
    const url = new URL(pathOf('vm_console', { vm: this.vm }, { type: this.type }), window.location.href)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    const socket = (this.socket = new WebSocket(url))
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('close', (event) => this.ended(socket, event.code, event.reason))
    this.detach = this.attach!(socket, () => {
      if (this.socket !== socket) return
      this.openedAt = Date.now()
      this.set({ phase: 'open' })
    })
  }

  /** The one that shows it has found it broken, e.g. the display's protocol. */
  broken(reason: string) {
    const socket = this.socket
    if (socket) this.ended(socket, 1006, reason)
  }

  private ended(socket: WebSocket, code: number, reason: string) {
    if (this.socket !== socket) return
    const opened = this.openedAt !== 0
    if (opened && Date.now() - this.openedAt > STEADY_MS) this.tries = 0
    this.openedAt = 0
    this.drop()
    if (code === SESSION_ENDED) expireSession()
    if (FINAL.has(code)) {
      this.set({ phase: 'ended', code, reason })
      return
    }
    const wait = WAITS[Math.min(this.tries, WAITS.length - 1)]
    this.tries++
    this.set({ phase: 'waiting', code, reason, retryAt: Date.now() + wait })
    this.timer = window.setTimeout(() => void this.again(), wait)
    if (!opened && code === 1006) void this.askWhy()
  }

  private async again() {
    // A session that ends meanwhile is said by the shell; the console goes on when somebody has signed in again.
    if (session().state === 'in') this.connect()
    else this.timer = window.setTimeout(() => void this.again(), 1000)
  }

  /** A WebSocket does not tell why it was refused; a request for the same thing does. */
  private async askWhy() {
    try {
      await request('GET', pathOf('vm_console', { vm: this.vm }, { type: this.type }))
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      if (this.state.phase === 'waiting' && code !== 'unreachable' && code !== 'invalid') this.set({ ...this.state, reason: message })
    }
  }
}
