import type { Commands, Queries } from '../commands/commands.ts';
import type { ErrorCode } from '../errors.ts';
import type { Funnels, FunnelUpdates } from '../projections/funnel-figures.ts';
import type { DeliveryUpdates } from '../projections/live-updates.ts';

export interface Api {
  /** Where clients reach it: PUBLIC_URL, or else where it listens. */
  readonly url: string;
  /** `http://host:port` as this machine reaches it, whatever stands in front of it for others. */
  readonly listening: string;
}

export interface ApiOptions {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Where clients reach this server, if not at host and port; browsers on its origin may open WebSockets. */
  readonly publicUrl: string | null;
  /** Opens introspection, suggestions in messages, and GraphiQL. */
  readonly development: boolean;
  readonly commands: Commands;
  readonly queries: Queries;
  readonly funnels: Funnels;
  readonly funnelUpdates: FunnelUpdates;
  readonly deliveryUpdates: DeliveryUpdates;
  readonly queues: () => Promise<readonly QueueView[]>;
  /** Cursor of the newest update. */
  readonly head: (tenant: string) => Promise<string>;
  readonly ready: () => Readiness | Promise<Readiness>;
  /** Null: there is no sandbox, messages go to a real server. */
  readonly sandbox: SandboxView | null;
  /** Null: none are received. */
  readonly receipts: ProviderReceipts | null;
  /** In Prometheus' text format 0.0.4. */
  readonly metrics: () => Promise<string>;
  readonly observe: ApiObserver;
  /** Begins the span of a GraphQL request over HTTP whose client is known; its `traceparent` header may be anything. */
  readonly trace: (traceparent: string | undefined, request: TracedRequest) => RequestSpan;
  /** Begins the span of a GraphQL operation over a WebSocket of a known client; the `traceparent` that it brings may be anything. */
  readonly traceOperation: (traceparent: string | undefined, operation: TracedOperation) => OperationSpan;
  readonly log: ApiLog;
  readonly newId: () => string;
  readonly timings?: Partial<ApiTimings>;
}

export interface QueueView {
  readonly name: string;
  readonly depth: number;
  readonly retrying: number;
  readonly dead: number;
  readonly oldestSeconds: number | null;
}

/** What people see of the sandbox. */
export interface SandboxView {
  readonly messages: (filter: { readonly address?: string | undefined }) => readonly unknown[];
  /** Another text whenever the messages may have changed; no quotes in it. */
  readonly revision: () => string;
  /** HTML; inline scripts and styles carry the nonce. */
  readonly page: (nonce: string) => string;
  /** Content-Security-Policy of that page. */
  readonly policy: (nonce: string) => string;
}

/** Who decides what becomes of a receipt. */
export interface ProviderReceipts {
  /**
   * Answers once what it answers is durable; `forged` changes nothing.
   * @throws DomainError UNAVAILABLE or CONFLICT when the receipt has to come again.
   */
  readonly receive: (request: ReceiptRequest) => Promise<ReceiptOutcome>;
}

/** One call of a provider, not checked in any way. */
export interface ReceiptRequest {
  readonly provider: string;
  readonly token: string;
  /** As the provider called it, query included: PUBLIC_URL, or else the address listened on, and what follows it. */
  readonly url: string;
  /** X-Twilio-Signature. */
  readonly signature: string | undefined;
  /** A form, not decoded; at most 64 KiB. */
  readonly body: string;
}

/** Recorded, parked for later, of no interest; not by the provider; no such provider. */
export type ReceiptOutcome = 'recorded' | 'parked' | 'ignored' | 'forged' | 'unknown-provider';

export interface Readiness {
  readonly ready: boolean;
  /** Why not, for people. */
  readonly reasons: readonly string[];
}

export interface TracedOperation {
  readonly requestId: string;
  /** Since it came; milliseconds. */
  readonly elapsedMs: number;
}

export interface TracedRequest extends TracedOperation {
  readonly method: string;
}

export interface RequestSpan {
  /** Undefined where nothing is traced. */
  readonly traceparent: string | undefined;
  readonly end: (status: number) => void;
}

export interface OperationSpan {
  /** Undefined where nothing is traced. */
  readonly traceparent: string | undefined;
  /** `type`: query, mutation or subscription; undefined for one that was refused before it ran. */
  readonly end: (type: string | undefined, isFailed: boolean) => void;
}

/** Told of what happens at the edge, for metrics. Must not throw. */
export interface ApiObserver {
  /** From the head of the request to the end of its answer, in seconds; `route` is the pattern that was matched. */
  readonly httpTook: (seconds: number, route: string, status: number) => void;
  readonly errorAnswered: (code: ErrorCode) => void;
  /** How many there are now. */
  readonly socketsOpen: (open: number) => void;
}

/** The part of pino that is used. */
export interface ApiLog {
  readonly error: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
}

/** All in milliseconds. */
export interface ApiTimings {
  /** From the opening of a WebSocket to its connection_init. */
  readonly initMs: number;
  /** Between pings; a socket that has not answered one by the next is gone. */
  readonly pingMs: number;
  /** Between checks whether the clients behind open sockets may still be here. */
  readonly recheckMs: number;
  /** For requests under way when the server stops. */
  readonly drainMs: number;
  /** For the headers of a request, counted from its first byte or from the connection. */
  readonly headersMs: number;
  /** For a whole request, body included. */
  readonly requestMs: number;
  /** How long an idle connection stays open: longer than load balancers keep theirs. */
  readonly keepAliveMs: number;
}

export const DEFAULT_TIMINGS: ApiTimings = {
  initMs: 3_000,
  pingMs: 12_000,
  recheckMs: 30_000,
  drainMs: 5_000,
  headersMs: 10_000,
  requestMs: 30_000,
  keepAliveMs: 65_000,
};
