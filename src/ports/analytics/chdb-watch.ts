import { open, stat, type FileHandle } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export interface WatchOptions {
  readonly url: string;
  /** The folder of the engine. */
  readonly path: string;
  /** From one look to the next, and how long one waits for an answer, in milliseconds. */
  readonly everyMs: number;
  /** The engine is given up when it has not answered for about this long, in milliseconds. */
  readonly silentMs: number;
}

/**
 * Looks after a running engine until the signal aborts, and tells what is wrong with it, once: it makes the folders that
 * were removed under it anew and writes into nothing, and an engine that hangs as a whole does not end by itself.
 */
export async function watchEngine(
  { url, path, everyMs, silentMs }: WatchOptions,
  signal: AbortSignal,
  onFault: (reason: string) => void,
): Promise<void> {
  const folder = await holdFolder(path);
  let silence = 0;
  const look = async (): Promise<string | null> => {
    const since = performance.now();
    await pause(everyMs, undefined, { signal });
    if (!(await folder.isThere())) return 'its folder was removed or replaced';
    const isAnswered = await answers(`${url}/ping`, everyMs, signal);
    // Not more than a look takes: while this machine slept, nobody was silent.
    silence = isAnswered ? 0 : silence + Math.min(performance.now() - since, 2 * everyMs);
    return silence >= silentMs ? 'it gives no answer' : null;
  };
  try {
    let fault = await look();
    while (fault === null) fault = await look();
    if (!signal.aborted) onFault(fault);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await folder.release();
  }
}

function answers(url: string, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = get(url, { agent: false }, (response) => {
      response.resume();
      settle(true);
    });
    const giveUp = (): void => void asked.destroy(new Error('no answer'));
    const timer = setTimeout(giveUp, ms);
    const settle = (isAnswered: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      resolve(isAnswered);
    };
    signal.addEventListener('abort', giveUp);
    asked.on('error', () => settle(false));
  });
}

interface Folder {
  readonly isThere: () => Promise<boolean>;
  readonly release: () => Promise<void>;
}

/** What of the folder of an engine stays for as long as it runs. Some of it is made by its first tables. */
const LASTING = ['', 'metadata', 'store', 'status'];

/** Holds it open: whatever takes its place later has another number then. */
async function holdFolder(path: string): Promise<Folder> {
  const held = new Map<string, Held>();
  const holdWhatIsThere = async (): Promise<void> => {
    for (const name of LASTING.filter((each) => !held.has(each))) {
      const found = await hold(join(path, name));
      if (found) held.set(name, found);
    }
  };
  await holdWhatIsThere();
  return {
    isThere: async () => {
      await holdWhatIsThere();
      return (await Promise.all([...held.values()].map(isThere))).every(Boolean);
    },
    release: async () => {
      for (const { handle } of held.values()) await handle.close();
    },
  };
}

interface Held {
  readonly path: string;
  readonly handle: FileHandle;
}

async function hold(path: string): Promise<Held | null> {
  const handle = await open(path, 'r').catch(() => null);
  return handle && { path, handle };
}

/** What cannot be looked at now is taken to be there. */
async function isThere({ path, handle }: Held): Promise<boolean> {
  try {
    const [now, then] = await Promise.all([stat(path), handle.stat()]);
    return now.ino === then.ino && now.dev === then.dev;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ENOENT');
  }
}
