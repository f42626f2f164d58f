// Preloaded into a process whose memory is watched: tells now and then what is left after a full garbage collection.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setInterval } from 'node:timers';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const { DATA_DIR = '.', PROBE_MS = '5000' } = process.env;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

const timer = setInterval(() => {
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  const line = JSON.stringify({ pid: process.pid, seconds: performance.now() / 1_000, heapUsed, external, rss });
  appendFileSync(join(DATA_DIR, 'memory.jsonl'), `${line}\n`);
}, Number(PROBE_MS));
timer.unref();
