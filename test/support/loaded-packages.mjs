// Imported ahead of a service: writes at its end which packages it has loaded.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { cache } = createRequire(import.meta.url);

process.once('exit', () => {
  const names = Object.keys(cache).flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);
  writeFileSync(process.env.LOADED_PACKAGES, JSON.stringify([...new Set(names)]));
});
