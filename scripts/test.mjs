// npm test: everything with vitest; arguments are vitest's (npm test -- test/config.test.ts). Builds first, because some
// tests start the server as a user would.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT, prepare } from './ensure.mjs';

await prepare();
const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
const child = spawn(process.execPath, [vitest, 'run', ...process.argv.slice(2)], { cwd: ROOT, stdio: 'inherit' });
process.on('SIGTERM', () => child.kill('SIGTERM'));
// A terminal sends it to the child as well; this process stays to pass on the exit code.
process.on('SIGINT', () => undefined);
child.once('close', (code) => process.exit(code ?? 1));
