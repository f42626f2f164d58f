/** Longer pauses are nobody's intention. */
const LONGEST_PAUSE_MS = 3_600_000;

/**
 * The pause that the header Retry-After asks for, in milliseconds. RFC 9110 §10.2.3: seconds, or a date.
 * @param now Milliseconds since the epoch.
 * @returns at most an hour; null when the header names no time to come.
 */
export function retryAfterMs(header: string | null, now: number): number | null {
  const text = header?.trim() ?? '';
  const pause = /^\d+$/.test(text) ? Number(text) * 1000 : text.endsWith('GMT') ? Date.parse(text) - now : NaN;
  return pause > 0 ? Math.min(pause, LONGEST_PAUSE_MS) : null;
}
