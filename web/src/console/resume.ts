// SPDX-License-Identifier: Apache-2.0
// The server keeps the newest 16 KiB of a serial console's output and begins with them. One who comes back has seen most of
// that already: this finds where what is new begins.

const KEEP = 16 * 1024
const PROBE = 256

export function joined(parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, part) => n + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function lastIndexOf(haystack: Uint8Array, needle: Uint8Array): number {
  for (let at = haystack.length - needle.length; at >= 0; at--) {
    let i = 0
    while (i < needle.length && haystack[at + i] === needle[i]) i++
    if (i === needle.length) return at
  }
  return -1
}

export class Tail {
  private bytes = new Uint8Array(0)

  add(more: Uint8Array) {
    const both = joined([this.bytes, more])
    this.bytes = both.slice(Math.max(0, both.length - KEEP))
  }

  clear() {
    this.bytes = new Uint8Array(0)
  }

  /** What of a replay is new; undefined if the replay does not go on from here, or nothing says that it does. */
  newIn(replay: Uint8Array): Uint8Array | undefined {
    if (!this.bytes.length) return undefined
    const at = lastIndexOf(replay, this.bytes.slice(-Math.min(PROBE, this.bytes.length)))
    return at < 0 ? undefined : replay.slice(at + Math.min(PROBE, this.bytes.length))
  }
}
