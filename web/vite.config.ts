// SPDX-License-Identifier: Apache-2.0
import react from '@vitejs/plugin-react'
import { fileURLToPath } from 'node:url'
import type { Plugin, ProxyOptions } from 'vite'
import { defineConfig } from 'vitest/config'

// The manager that `npm run dev` speaks to.
const manager = process.env.TARN_MANAGER ?? 'https://127.0.0.1:8443'

const proxy: Record<string, ProxyOptions> = {
  '/api': {
    target: manager,
    secure: false,
    ws: true,
    changeOrigin: true,
    // The manager refuses a session's change that comes from a page of another site.
    configure: (server) => {
      server.on('proxyReq', (request) => request.getHeader('origin') && request.setHeader('origin', manager))
      server.on('proxyReqWs', (request) => request.setHeader('origin', manager))
    },
  },
}

/**
 * xterm writes a cell's colours into its style attribute, which the content security policy forbids; through the object
 * model it may. (Its <style> elements: src/console/styles.ts.)
 */
function strictXterm(): Plugin {
  const attribute = 'e.setAttribute("style",`${e.getAttribute("style")||""}${t};`)'
  return {
    name: 'strict-xterm',
    enforce: 'pre',
    transform(code, id) {
      if (!/@xterm\/xterm\/lib\/xterm\.js$/.test(id)) return null
      const parts = code.split(attribute)
      if (parts.length !== 2) throw new Error('this xterm sets styles in another way: see strictXterm in vite.config.ts')
      return { code: parts.join('e.style.cssText+=t+";"'), map: null }
    },
  }
}

export default defineConfig({
  plugins: [react(), strictXterm()],
  resolve: { alias: { '@': fileURLToPath(new URL('src', import.meta.url)) } },
  build: {
    // noVNC awaits at its top level.
    target: 'es2022',
    outDir: process.env.TARN_CONSOLE_OUT ?? 'dist',
    emptyOutDir: true,
    manifest: true,
    // No data: URLs: the content security policy allows none.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000,
  },
  server: { host: '127.0.0.1', proxy },
  preview: { host: '127.0.0.1', proxy },
  test: { environment: 'node', include: ['src/**/*.test.ts'] },
})
