/** What `run.ts` tells the process of `load.ts`. */
export interface LoadOrder {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** `json`: a list of items as they are. `noop`: a GraphQL mutation that does nothing. */
  readonly language: 'graphql' | 'json' | 'noop';
  readonly channel: 'PUSH' | 'EMAIL';
  /** A request. */
  readonly items: number;
  /** Requests under way at once; null rate only. */
  readonly connections: number;
  /** Notifications asked for and not received yet, at most; null rate only. */
  readonly onTheWay: number;
  /** Requests a second, however long they take; null: as many as go. */
  readonly perSecond: number | null;
  readonly users: number;
  readonly warmUpMs: number;
  readonly windowMs: number;
}

/** Milliseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly most: number;
}

export interface LoadResult {
  /** Length of the window. */
  readonly seconds: number;
  /** Notifications that arrived at the provider in the window, each counted once. */
  readonly inWindow: number;
  readonly acceptedPerSecond: number;
  readonly sentPerSecond: number;
  /** All, with those before and after the window. */
  readonly accepted: number;
  /** Accepted, and not arrived two minutes after the last request. */
  readonly lost: number;
  /** Arrivals beyond the first of each. */
  readonly copies: number;
  /** Items of bulk requests that were refused, by code. */
  readonly refused: Readonly<Record<string, number>>;
  /** Of what was asked for in the window: from the first byte of the request to the arrival at the provider. */
  readonly latency: Percentiles;
  /** From the answer to the request; negative when the provider had it before that. */
  readonly sinceAnswer: Percentiles;
  /** From the request to its answer. */
  readonly answer: Percentiles;
}

export type LoadReport =
  | { readonly kind: 'open'; readonly pushPort: number; readonly mailPort: number }
  /** The window begins or ends. */
  | { readonly kind: 'begin' }
  | { readonly kind: 'end' }
  | { readonly kind: 'result'; readonly result: LoadResult }
  | { readonly kind: 'failed'; readonly why: string };
