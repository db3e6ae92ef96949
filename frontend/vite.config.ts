import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

// The stack for `npm run dev`; the built page connects only to its own origin.
const stack = 'http://127.0.0.1:7777'

export default defineConfig({
  plugins: [
    svelte({
      compilerOptions: {
        // Creates elements with createElement, never from strings: the page needs no Trusted Types
        // policy for its own templates, only DOMPurify's.
        fragments: 'tree',
      },
    }),
  ],
  build: {
    // The content security policy allows data: URLs only for images: nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The grammar of C++ is the largest chunk; it is loaded when an answer contains C++.
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
