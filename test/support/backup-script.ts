import { fileURLToPath } from 'node:url';

/** As built: Node cannot run the sources by itself, and the set-up of the test run sees to it that it is current. */
export const BACKUP_SCRIPT = fileURLToPath(new URL('../../dist/ports/state/lmdb-backup.js', import.meta.url));
