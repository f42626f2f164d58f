// A vitest reporter that ends a run with one plain line, `N passed, N failed`, for people and programs that read only that.
import { writeSync } from 'node:fs';

/** Vitest constructs its reporters with `new`. */
export default function ClosingLine() {
  let line;
  process.once('exit', () => line && writeSync(1, `${line}\n`));
  return {
    onTestRunEnd(modules, unhandledErrors) {
      line = closingLine(modules, unhandledErrors);
    },
  };
}

function closingLine(modules, unhandledErrors) {
  const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
  for (const module of modules) {
    const states = [...module.children.allTests()].map((test) => test.result().state);
    for (const state of states) counts[state] += 1;
    // A file that cannot be loaded, or whose hooks fail, fails without a failed test.
    if (module.state() === 'failed' && !states.includes('failed')) counts.failed += 1;
  }
  const skipped = counts.skipped + counts.pending;
  return `${counts.passed} passed, ${counts.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
