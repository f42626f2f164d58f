import { defineConfig } from 'vitest/config';

export default defineConfig({
  // One copy of graphql: Node would take its CommonJS build for type-graphql and Vite its ES modules for our sources.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    reporters: ['default', './scripts/closing-line.mjs'],
  },
});
