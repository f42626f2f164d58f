import { fileURLToPath } from 'node:url';

/**
 * In place of `src/senders/thread-script.ts` (vitest.config.ts sees to that): a thread that a test starts is Node's and not
 * vitest's, and cannot run the sources. As built; the set-up of the test run sees to it that it is current.
 */
export const THREAD_SCRIPT = fileURLToPath(new URL('../../dist/senders/thread-main.js', import.meta.url));
