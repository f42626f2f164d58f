/** What `analytics-writer.ts` says of each step, one a line of JSON. */
export interface Line {
  readonly kind: 'planned' | 'inserted';
  /** Process of the engine; null while there is none. */
  readonly engine: number | null;
}

/** Small batches in quick succession: as many moments as possible at which a kill matters. */
export const LIMITS = { rows: 100, flushMs: 20, pauseMs: [10, 100], longPauseMs: 100 } as const;
