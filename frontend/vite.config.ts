import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

// Where `npm run dev` finds the stack; the built page has only its own origin.
const stack = 'http://127.0.0.1:7777'

export default defineConfig({
  plugins: [
    svelte({
      compilerOptions: {
        // Elements are made with createElement, never from strings: the page then needs no
        // Trusted Types policy for its own templates, only DOMPurify's.
        fragments: 'tree',
      },
    }),
  ],
  build: {
    // img-src allows data:, fonts and scripts do not: nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Only the grammar of C++ is larger; it is loaded when an answer holds C++.
    chunkSizeWarningLimit: 800,
  },
  server: {
    proxy: {
      '/v1': { target: stack, ws: true },
      '/auth': { target: stack },
    },
  },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
})
