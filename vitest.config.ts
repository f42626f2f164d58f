import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import LongestFirst from './test/support/longest-first.ts';

export default defineConfig({
  resolve: {
    alias: [
      // One copy of graphql: Node would take its CommonJS build for type-graphql and Vite its ES modules for our sources.
      { find: /^graphql$/, replacement: 'graphql/index.js' },
      // Threads are run by Node, which does not run the sources: they are started as built.
      {
        find: './thread-script.ts',
        replacement: fileURLToPath(new URL('test/support/thread-script.ts', import.meta.url)),
      },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/rabbitmq-shared.ts'],
    pool: 'forks',
    // As many as the smallest machine that it has to run on has cores; much of the time goes into waiting for other processes.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    reporters: ['default', './scripts/closing-line.mjs'],
  },
});
