// SPDX-License-Identifier: Apache-2.0
// What manager and agents say of an error, a reason, a progress, is English, put together from templates such as
//     server "%s" is in the pool "%s"; a server is in one pool: remove it there first
// The console knows the templates as they stand in the sources (a test compares them) with what they are in Chinese, and so translates
// what has been put together, piece by piece. What it does not know it leaves as it is: English says more than nothing.
export interface Said {
  /** Template to text, in which {1} is the first value. */
  said: Record<string, string>
  /** Values that are words. */
  words: Record<string, string>
}

interface Pattern {
  regex: RegExp
  /** Its longest words: what lacks them need not be matched. */
  needle: string
  text: string
  fixed: number
}

const VALUE = /%(?:\.\*|[-+0-9.*])*(?:ll|l|z|j|h)?[sducxifg]/g
const REMEMBERED = 500
const MOST_CHARACTERS = 2000
const MOST_PIECES = 40
/** As many pieces as a template may have of its own. */
const LONGEST = 3

/** A value goes as far as the piece does; only what a template ends with (": %s") may have pieces of its own. */
function patternOf(template: string, text: string): Pattern {
  const parts = template.replaceAll('%%', '\0').split(VALUE)
  const open = parts.length > 1 && parts[parts.length - 1] === '' && /: $/.test(parts[parts.length - 2])
  const literal = (part: string) => part.replaceAll('\0', '%').replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const source = parts.map((part, index) => literal(part) + (index === parts.length - 1 ? '' : open && index === parts.length - 2 ? '([^]+)' : '((?:(?!; )[^])*?)')).join('')
  const needle = parts.map((part) => part.replaceAll('\0', '%')).reduce((a, b) => (b.length > a.length ? b : a))
  return { regex: new RegExp(`^${source}$`), needle, text, fixed: parts.join('').length }
}

const SELF = 'this server'
const SELF_IN_TEXT = '此服务器'

/** What an agent says of "this server", as the manager passes it on: with the server's name. */
function named(template: string, text: string, server: string): [string, string] {
  const at = (template.slice(0, template.indexOf(SELF)).replaceAll('%%', '').match(VALUE)?.length ?? 0) + 1
  const moved = text.replace(/\{(\d)\}/g, (_, number: string) => `{${Number(number) + (Number(number) >= at ? 1 : 0)}}`)
  return [template.replace(SELF, 'server "%s"'), moved.replace(SELF_IN_TEXT, `${server}“{${at}}”`)]
}

export function translator(table: Said, label: (word: string) => string | undefined = () => undefined) {
  const exact = new Map<string, string>()
  const patterns: Pattern[] = []
  const all = Object.entries(table.said)
  for (const [template, text] of [...all, ...all.filter(([one]) => one.includes(SELF)).map(([one, its]) => named(one, its, table.words.server))]) {
    if (template.includes('%')) patterns.push(patternOf(template, text))
    else exact.set(template, text)
  }
  // The one that says most itself first.
  patterns.sort((a, b) => b.fixed - a.fixed)
  const known = new Map<string, string>()

  const value = (word: string): string => {
    // What is added where there is more to say.
    const more = /^([:;]) ([^]+)$/.exec(word)
    if (more) return (more[1] === ':' ? '：' : '；') + value(more[2])
    return table.words[word] ?? label(word) ?? (/[a-z] |: /.test(word) ? say(word) : word)
  }
  const one = (text: string): string | undefined => {
    const whole = exact.get(text)
    if (whole) return whole
    for (const { regex, needle, text: into } of patterns) {
      const match = text.includes(needle) && regex.exec(text)
      if (match) return into.replace(/\{(\d)\}/g, (_, number: string) => value(match[Number(number)] ?? ''))
    }
    return undefined
  }
  const told = (text: string): string | undefined => {
    const server = /^server "([^"]+)"(:?) ([^]+)$/.exec(text)
    if (server) {
      const rest = say(server[3])
      if (rest !== server[3]) return `${table.words.server}“${server[1]}”${server[2] ? '：' : ''}${rest}`
    }
    const named = /^([^:;]{1,128}): ([^]+)$/.exec(text)
    if (!named) return undefined
    const rest = say(named[2])
    return rest === named[2] ? undefined : `${exact.get(named[1]) ?? table.words[named[1]] ?? named[1]}：${rest}`
  }
  /** Whole, or in pieces: A; B. server "NAME" A. server "NAME": A. NAME: A */
  const inPieces = (text: string): string => {
    const there = /^(server "[^"]+"): ([^]+)$/.exec(text)
    if (there) return told(text) ?? text
    const whole = one(text)
    if (whole !== undefined) return whole
    const pieces = text.split('; ')
    if (pieces.length > MOST_PIECES) return text
    let out = ''
    for (let at = 0; at < pieces.length; ) {
      let taken = 1
      let now: string | undefined
      for (let n = Math.min(LONGEST, pieces.length - at); n && now === undefined; n--) {
        const candidate = pieces.slice(at, at + n).join('; ')
        now = one(candidate) ?? told(candidate)
        taken = n
      }
      const rest = pieces[at]
      out += (at ? (now === undefined || out.endsWith(pieces[at - 1]) ? '; ' : '；') : '') + (now ?? rest)
      at += now === undefined ? 1 : taken
    }
    return out
  }
  const say = (text: string): string => {
    const before = known.get(text)
    if (before !== undefined) return before
    const now = text.length > MOST_CHARACTERS ? text : inPieces(text)
    if (known.size >= REMEMBERED) known.clear()
    known.set(text, now)
    return now
  }
  return say
}
