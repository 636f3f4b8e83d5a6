// SPDX-License-Identifier: Apache-2.0
import react from '@vitejs/plugin-react'
import { fileURLToPath } from 'node:url'
import type { ProxyOptions } from 'vite'
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

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { '@': fileURLToPath(new URL('src', import.meta.url)) } },
  build: {
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
