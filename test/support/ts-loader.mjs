/**
 * Lets plain node run this project's TypeScript, in a fresh clone and without a build:
 *
 *   node --import ./test/support/ts-loader.mjs some-script.ts
 *
 * Types are stripped file by file with the compiler options of tsconfig.json; nothing is checked (`npm run typecheck` does).
 * For benchmarks and for the child processes of tests: `ts-child.ts` starts those.
 */
import { register } from 'node:module';

register('./ts-loader-hooks.mjs', import.meta.url);
process.setSourceMapsEnabled(true);
