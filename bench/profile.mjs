/**
 * Adds up CPU profiles of the service by package, by file and by function: where its own time goes.
 *
 *   npm run bench -- --only=rabbit-push --shape=bulk --profile=profiles
 *   node bench/profile.mjs profiles/*.cpuprofile [top, default 40]
 *
 * A profile spans the whole life of its process; with `--shape` and a long window, most of it is what was measured. Shares are of
 * the time that the main thread was busy.
 */
import { readFileSync } from 'node:fs';

const args = process.argv.slice(2);
const top = Number(args.find((each) => /^\d+$/.test(each)) ?? 40);

for (const file of args.filter((each) => !/^\d+$/.test(each))) {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, 'utf8'));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const sums = { part: new Map(), file: new Map(), function: new Map() };
  const total = { all: 0, idle: 0 };
  samples.forEach((id, index) => {
    const { functionName, url, lineNumber } = byId.get(id).callFrame;
    // A sample's time is up to the next one.
    const ms = Math.max(0, timeDeltas[index + 1] ?? 0) / 1_000;
    total.all += ms;
    if (functionName === '(idle)') {
      total.idle += ms;
      return;
    }
    const place = placeOf(url, functionName);
    add(sums.part, place.part, ms);
    add(sums.file, place.file, ms);
    add(sums.function, `${functionName || '(anonymous)'} ${place.file}:${lineNumber + 1}`, ms);
  });
  const busy = total.all - total.idle;
  console.log(`\n# ${file}\n\n${(total.all / 1_000).toFixed(1)} s, of which busy ${(busy / 1_000).toFixed(1)} s`);
  for (const [kind, map] of Object.entries(sums)) print(kind, map, busy);
}

/** A package, a folder of ours, a module of Node, or what the engine itself does. */
function placeOf(url, functionName) {
  if (url === '') return { part: functionName.startsWith('(') ? functionName : '(native)', file: '(native)' };
  if (url.startsWith('node:')) return { part: 'node', file: url };
  const packaged = url.lastIndexOf('/node_modules/');
  if (packaged >= 0) {
    const path = url.slice(packaged + '/node_modules/'.length);
    const [first, second] = path.split('/');
    return { part: first.startsWith('@') ? `${first}/${second}` : first, file: path };
  }
  const path = url.slice(url.lastIndexOf('/dist/') + '/dist/'.length);
  const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.';
  return { part: `ours: ${folder}`, file: `ours: ${path}` };
}

function add(sums, name, ms) {
  sums.set(name, (sums.get(name) ?? 0) + ms);
}

function print(kind, sums, busy) {
  console.log(`\n| self time by ${kind} | ms | share |\n| --- | --- | --- |`);
  const sorted = [...sums].sort(([, a], [, b]) => b - a).slice(0, top);
  for (const [name, ms] of sorted) console.log(`| ${name} | ${ms.toFixed(0)} | ${((ms / busy) * 100).toFixed(1)} % |`);
}
