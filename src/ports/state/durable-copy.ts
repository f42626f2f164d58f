import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';

export interface Copied {
  readonly bytes: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

const CHUNK = 1024 * 1024;

/** Copies a file to one that does not exist; it is on the disk when this resolves. Answers what was read. */
export async function copyDurably(from: string, to: string): Promise<Copied> {
  const source = await open(from, 'r');
  try {
    const target = await open(to, 'wx', 0o600);
    try {
      const copied = await pump(source, target);
      await target.sync();
      return copied;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function pump(source: FileHandle, target: FileHandle): Promise<Copied> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK);
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await source.read(chunk, 0, CHUNK, null);
    if (bytesRead === 0) return { bytes, sha256: hash.digest('hex') };
    const part = chunk.subarray(0, bytesRead);
    hash.update(part);
    await writeWhole(target, part);
    bytes += bytesRead;
  }
}

async function writeWhole(target: FileHandle, part: Buffer): Promise<void> {
  for (let at = 0; at < part.length;) at += (await target.write(part, at)).bytesWritten;
}

export async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Puts the entries of a folder on the disk, where its file system knows how to. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!UNSUPPORTED.has(codeOf(error))) throw error;
  } finally {
    await handle.close();
  }
}

/** What file systems over a network answer that have no such thing. */
const UNSUPPORTED: ReadonlySet<string> = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
