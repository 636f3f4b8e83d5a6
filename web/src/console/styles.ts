// SPDX-License-Identifier: Apache-2.0
// xterm writes its rules into <style> elements, which the content security policy forbids, rightly. Handed this stand-in for
// the document, it writes them into constructed style sheets instead, which the policy allows.

function styleElement(document: Document): HTMLElement {
  // Only text is put into it, and it is put somewhere and removed; an inert element does for that.
  const element = document.createElement('span')
  element.hidden = true
  const sheet = new CSSStyleSheet()
  let text = ''
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]
  Object.defineProperty(element, 'textContent', {
    get: () => text,
    set: (css: string) => {
      text = css
      sheet.replaceSync(css)
    },
  })
  const remove = element.remove.bind(element)
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet)
    remove()
  }
  return element
}

export function strictDocument(document: Document): Document {
  return new Proxy(document, {
    get(target, property) {
      if (property === 'createElement') return (name: string) => (name.toLowerCase() === 'style' ? styleElement(target) : target.createElement(name))
      const value = Reflect.get(target, property, target) as unknown
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
    set: (target, property, value) => Reflect.set(target, property, value, target),
  })
}
