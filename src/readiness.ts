import type { Readiness } from './api/options.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import { RESERVE_FOR_ENDINGS } from './ports/event-log/guarded.ts';
import type { ProjectionStatus } from './projections/run.ts';
import { withinMs } from './within.ts';

export interface ReadinessOptions {
  readonly log: EventLog;
  readonly projections: readonly (() => ProjectionStatus)[];
  readonly freeBytes: () => number;
}

/** A cluster that elects a leader is silent for a second or two; milliseconds. */
const ANSWER_MS = 3_000;
/** Anybody may ask: the log is asked once for all who do so within as many milliseconds. */
const KEEP_MS = 500;

/** Whether this process can take requests: the log answers, was folded to its end, and has space. */
export function openReadiness({ log, projections, freeBytes }: ReadinessOptions): () => Promise<Readiness> {
  let asked: { readonly at: number; readonly answer: Promise<boolean> } | null = null;
  const answers = (): Promise<boolean> => {
    if (asked === null || performance.now() - asked.at > KEEP_MS) asked = { at: performance.now(), answer: ask(log) };
    return asked.answer;
  };
  return async () => {
    const behind = projections.map((status) => status()).filter(({ live }) => !live);
    const reasons = behind.map(({ name }) => `${name} has not reached the end of the log yet`);
    if (freeBytes() < RESERVE_FOR_ENDINGS) reasons.push('the disk is almost full: new requests are refused');
    if (!(await answers())) reasons.push('the event log does not answer');
    return { ready: reasons.length === 0, reasons };
  };
}

async function ask(log: EventLog): Promise<boolean> {
  const head = log.head().catch(() => null);
  return (await withinMs(ANSWER_MS, head)) !== null;
}
