import type { Job, Verdict } from './broker.ts';

/** What a job may measure as JSON in UTF-8. */
const JOB_BYTES = 1_024;
/** A character of a name takes six bytes at most (`\u001f`), and all the rest of a job fewer than 144. */
const SHORT_NAMES = (JOB_BYTES - 144) / 6;
/** Longer delays live in the log's due times, not in queues. */
export const LONGEST_DELAY_MS = 3_600_000;

/**
 * A frozen copy with the fields of a job and nothing else: what is not a name never gets into a queue.
 * @throws RangeError when a field is missing or of another kind, or the job has over 1 KB as JSON.
 */
export function checkedJob(job: Job): Job {
  const copy = Object.freeze(pickJob(job));
  const { tenant, notificationId, deliveryId, attempt, due, expires } = copy;
  const named = [tenant, notificationId, deliveryId].every((name: unknown) => typeof name === 'string' && name !== '');
  const timed = Number.isSafeInteger(due) && (expires === null || Number.isSafeInteger(expires));
  if (!named || !timed || !Number.isSafeInteger(attempt) || attempt < 1) throw new RangeError('not a job');
  requireSmall(copy);
  return copy;
}

function requireSmall(job: Job): void {
  const { tenant, notificationId, deliveryId } = job;
  if (tenant.length + notificationId.length + deliveryId.length <= SHORT_NAMES) return;
  const bytes = Buffer.byteLength(JSON.stringify(job));
  if (bytes > JOB_BYTES)
    throw new RangeError(`a job of ${String(bytes)} bytes; at most ${String(JOB_BYTES)} are allowed`);
}

function pickJob(job: Job): Job {
  if (typeof (job as unknown) !== 'object' || (job as unknown) === null) throw new RangeError('not a job');
  const { tenant, notificationId, deliveryId, attempt, due, expires } = job;
  return { tenant, notificationId, deliveryId, attempt, due, expires };
}

/**
 * The verdict with its delay cut to an hour. The compiler checks handlers; one that slipped past it must not lose a job.
 * @throws RangeError when it is none.
 */
export function checkedVerdict(verdict: unknown): Verdict {
  const { kind, afterMs, reason } = Object(verdict) as Partial<Record<string, unknown>>;
  if (kind === 'ack') return { kind };
  if (kind === 'retry' && typeof afterMs === 'number' && afterMs >= 1) {
    return { kind, afterMs: Math.min(afterMs, LONGEST_DELAY_MS) };
  }
  if (kind === 'dead' && typeof reason === 'string') return { kind, reason };
  throw new RangeError('the handler answered no verdict');
}
