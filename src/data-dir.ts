import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, readdir, realpath, rm, type FileHandle } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { start, type Started } from './lifecycle.ts';

/** The folder that holds everything this server keeps. One process at a time has it. */
export interface DataDir {
  /** Absolute, without symbolic links. */
  readonly path: string;
  /**
   * The one line in the file `name`; made by `make` when there is no such file, mode 0600. Once it has been handed out it
   * is on disk and never changes. Whoever else makes it at the same moment gets the same one.
   * @throws when the file holds anything but one line of printable ASCII characters.
   */
  readonly secret: (name: string, make: () => string) => Promise<string>;
}

/**
 * Makes the folder if need be, mode 0700, and takes it for this process until `stop`. A holder that was killed counts as
 * gone at once, whatever runs under its process id now; of several that come at the same time one gets it.
 * @throws DataDirInUse, or an error of the file system.
 */
export function openDataDir(path: string): Promise<Started<DataDir>> {
  return start(async (scope) => {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const folder = await realpath(path);
    const handle = scope.use(await openFolder(folder));
    scope.use(await takeLock(folder, handle));
    return { path: folder, secret: (name, make) => readOrMake(folder, handle, { name, make }) };
  });
}

/** Another live process holds the folder. */
export class DataDirInUse extends Error {
  override readonly name = 'DataDirInUse';
  constructor(path: string) {
    super(`${path} is in use by another Heliograph. Stop that one, or start this one with another DATA_DIR.`);
  }
}

async function openFolder(path: string): Promise<Started<FileHandle>> {
  const value = await open(path, 'r');
  return { value, stop: () => value.close() };
}

/*
 * The lock: files `lock.<n>` are Unix sockets, and the one with the highest number decides. Somebody listens on it: the
 * folder is taken. Nobody does (the kernel stops listening for the dead): it is free, and who wants it links a socket on
 * which it listens already as `lock.<n+1>`, which only one can. The highest is never removed, not even by its holder when
 * it stops: so a number is never given twice to two that live, and one who comes late with an old number sees a higher one.
 */

async function takeLock(folder: string, handle: FileHandle): Promise<Started<void>> {
  const near = nearby(folder, handle);
  const claim = `claim-${randomUUID()}`;
  const server = await listen(join(near, claim));
  const stop = () => close(server);
  try {
    await rise(folder, { near, claim });
    return { value: undefined, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    await rm(join(folder, claim), { force: true });
  }
}

interface Claim {
  /** The folder by a name short enough for a socket. */
  readonly near: string;
  /** File name of the socket on which we listen. */
  readonly claim: string;
}

/** Makes our claim the highest lock. */
async function rise(folder: string, { near, claim }: Claim): Promise<void> {
  const highest = (await locks(folder)).at(-1) ?? 0;
  if (highest > 0 && (await isListening(join(near, lockName(highest))))) throw new DataDirInUse(folder);
  const ours = highest + 1;
  try {
    await link(join(folder, claim), join(folder, lockName(ours)));
  } catch (error) {
    throw hasCode(error, 'EEXIST') ? new DataDirInUse(folder) : error;
  }
  const now = await locks(folder);
  const lost = now.some((number) => number > ours);
  const obsolete = lost ? [ours] : now.filter((number) => number < ours);
  for (const number of obsolete) await rm(join(folder, lockName(number)), { force: true });
  if (lost) throw new DataDirInUse(folder);
}

function lockName(number: number): string {
  return `lock.${String(number)}`;
}

/** Numbers of the locks, ascending. */
async function locks(folder: string): Promise<readonly number[]> {
  const numbers = (await readdir(folder)).map((name) => Number(/^lock\.(\d{1,15})$/.exec(name)?.[1] ?? Number.NaN));
  return numbers.filter((number) => !Number.isNaN(number)).sort((a, b) => a - b);
}

/** Kernels cut the path of a socket at about 104 bytes, and folders are longer; Linux knows a short name for an open one. */
function nearby(folder: string, handle: FileHandle): string {
  return process.platform === 'linux' ? `/proc/self/fd/${String(handle.fd)}` : folder;
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(path, () => {
      resolve(server.unref());
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Anything but a clear no counts as yes. */
function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      resolve(!hasCode(error, 'ECONNREFUSED') && !hasCode(error, 'ENOENT'));
    });
  });
}

interface Secret {
  readonly name: string;
  readonly make: () => string;
}

async function readOrMake(folder: string, handle: FileHandle, { name, make }: Secret): Promise<string> {
  const file = join(folder, name);
  const found = await readSecret(file);
  if (found !== null) return found;
  const draft = `${file}.${randomUUID()}`;
  try {
    await writeDurably(draft, `${checked(file, make())}\n`);
    await link(draft, file);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  } finally {
    await rm(draft, { force: true });
  }
  await handle.sync();
  // Read back: somebody else may have been first.
  return checked(file, (await readSecret(file)) ?? '');
}

async function readSecret(file: string): Promise<string | null> {
  try {
    const text = await readFile(file, 'utf8');
    return checked(file, text.replace(/\r?\n$/, ''));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

function checked(file: string, secret: string): string {
  if (/^[\x21-\x7E]+$/.test(secret)) return secret;
  const found = secret === '' ? 'is empty' : 'is not one line of printable characters without spaces';
  throw new Error(`${file} ${found}. Put back what it held, or remove it to have a new one made.`);
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
