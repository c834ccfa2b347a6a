import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

// With these two headers a page is cross-origin isolated.
const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

export default defineConfig({
  // The bundled model and sentences.
  publicDir: fileURLToPath(new URL('../../assets', import.meta.url)),
  base: './',
  build: {
    outDir: fileURLToPath(new URL('../../.cache/demo-web', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    chunkSizeWarningLimit: 1000,
  },
  server: { headers, fs: { allow: ['../..'] } },
  preview: { headers },
});
