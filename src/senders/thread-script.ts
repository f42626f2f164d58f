import { fileURLToPath } from 'node:url';

/** The main module of a sender's thread: built like this file or, where Node is told to run the sources, not built like it. */
export const THREAD_SCRIPT = fileURLToPath(
  new URL(`./thread-main.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
);
