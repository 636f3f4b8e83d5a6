// SPDX-License-Identifier: Apache-2.0
declare module '@novnc/novnc' {
  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, channel: WebSocket, options?: { shared?: boolean })
    background: string
    clipViewport: boolean
    focusOnClick: boolean
    scaleViewport: boolean
    showDotCursor: boolean
    viewOnly: boolean
    disconnect(): void
    focus(options?: FocusOptions): void
    sendKey(keysym: number, code: string, down?: boolean): void
    toBlob(callback: (blob: Blob | null) => void, type?: string): void
  }
}
