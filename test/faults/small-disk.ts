import { spawnSync } from 'node:child_process';
import { cp, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Unit } from './unit.ts';

const MIB = 1024 * 1024;

/**
 * The command line of a process whose DATA_DIR is a disk of that size, in memory and seen by itself alone; the disk is gone when
 * the process is. The namespaces need no rights beyond those of any user, where the system allows them.
 */
export function onSmallDisk(bytes: number): readonly string[] {
  const mount = `mount -t tmpfs -o size=${String(bytes)} none "$DATA_DIR" && exec "$@"`;
  return ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount, 'sh'];
}

/**
 * Whether a test with a disk of its own is to be skipped, which is said once.
 * @throws in CI, where it must be possible, except on systems that have no such thing.
 */
export function lacksSmallDisk(): boolean {
  const [command = '', ...args] = onSmallDisk(MIB);
  const { status, stderr, error } = spawnSync(command, [...args, 'true'], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], DATA_DIR: '/mnt' },
  });
  if (status === 0) return false;
  const missing = `a tmpfs in a namespace cannot be mounted here: ${error?.message ?? stderr.trim()}`;
  if (process.platform === 'linux' && (process.env['CI'] ?? '') !== '') throw new Error(missing);
  console.warn(`SKIPPED: ${missing}; the test that fills a disk is left out`);
  return true;
}

/** The disk of a process, as it sees it. */
export interface SmallDisk {
  readonly freeMib: () => Promise<number>;
  /** Somebody else's data take all but so much. */
  readonly fillUpTo: (mib: number) => Promise<void>;
  readonly empty: () => Promise<void>;
  /** Puts what the process has recorded so far into another folder, at one moment. */
  readonly copyRecord: (to: string) => Promise<void>;
}

export function smallDiskOf({ service, folder }: Pick<Unit, 'service' | 'folder'>): SmallDisk {
  const inside = (): string => `/proc/${String(service()?.child.pid)}/root${folder}`;
  const ballast = (): string => join(inside(), 'ballast');
  const freeMib = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(inside());
    return (bavail * bsize) / MIB;
  };
  const fillUpTo = async (mib: number): Promise<void> => {
    const file = await open(ballast(), 'a');
    try {
      while ((await freeMib()) > mib) await file.write(Buffer.alloc(MIB));
    } finally {
      await file.close();
    }
  };
  const copyRecord = async (to: string): Promise<void> => {
    service()?.child.kill('SIGSTOP');
    for (const name of ['log', 'secret-key']) await cp(join(inside(), name), join(to, name), { recursive: true });
    service()?.child.kill('SIGCONT');
  };
  return { freeMib, fillUpTo, copyRecord, empty: () => rm(ballast(), { force: true }) };
}
