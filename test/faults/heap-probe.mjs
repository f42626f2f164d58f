// Preloaded into a process whose memory is watched: tells now and then what is left after a full garbage collection.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setInterval } from 'node:timers';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

const { DATA_DIR = '.', PROBE_MS = '5000' } = process.env;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

/** Bytes in memory without those of mapped files, which come and go as the system likes. */
function resident() {
  if (!existsSync('/proc/self/status')) return process.memoryUsage.rss();
  const [, kilobytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kilobytes) * 1_024;
}

// Threads are preloaded too, and each has a heap of its own: mixed with it they hide how the main one grows.
const tell = () => {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  const rss = resident();
  const line = JSON.stringify({ pid: process.pid, seconds: performance.now() / 1_000, heapUsed, external, rss });
  appendFileSync(join(DATA_DIR, 'memory.jsonl'), `${line}\n`);
};

if (isMainThread) setInterval(tell, Number(PROBE_MS)).unref();
