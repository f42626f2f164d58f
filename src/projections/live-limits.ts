/** How much one process keeps and does at once for its subscribers. */
export interface LiveLimits {
  readonly subscribers: number;
  /** What part of the subscribers may be of one tenant. */
  readonly tenantShare: number;
  /** Updates in memory. */
  readonly ringUpdates: number;
  readonly ringBytes: number;
  /** Deliveries of which the latest state is kept. */
  readonly states: number;
  /** Updates looked at for one subscriber between two turns of the event loop. */
  readonly scan: number;
  /** Updates given to subscribers between two turns of the event loop, to all of them together. */
  readonly given: number;
  /** Updates of the past that are read at once for one subscriber. */
  readonly page: number;
  /** Updates of the past that are kept for all subscribers together; one for each is. */
  readonly held: number;
  /** Subscribers that read of the past at the same time; the others wait. */
  readonly readers: number;
  /** One read of the past takes no longer, or the log counts as away; milliseconds. */
  readonly readMs: number;
  /** ClickHouse answers within this, or the log is read instead; milliseconds. */
  readonly queryMs: number;
  /** Those who read too slowly are looked for at most so often; milliseconds. */
  readonly sweepMs: number;
  /** The log's end is followed for so long after the last subscriber left, who may come back at once; milliseconds. */
  readonly lingerMs: number;
  readonly stallMs: number;
  readonly pauseMs: number;
}

export const LIVE_LIMITS: LiveLimits = {
  subscribers: 10_000,
  tenantShare: 4 / 5,
  ringUpdates: 16_384,
  ringBytes: 64 * 1024 * 1024,
  states: 32_768,
  scan: 4_096,
  given: 64,
  page: 256,
  held: 16_384,
  readers: 4,
  readMs: 30_000,
  queryMs: 5_000,
  sweepMs: 1_000,
  lingerMs: 10_000,
  stallMs: 30_000,
  pauseMs: 1_000,
};
