// Required ahead of a service: says at its end which packages it has loaded.
const { writeFileSync } = require('node:fs');

process.once('exit', () => {
  const names = Object.keys(require.cache).flatMap(
    (path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [],
  );
  writeFileSync(process.env.LOADED_PACKAGES, JSON.stringify([...new Set(names)]));
});
