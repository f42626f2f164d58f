import type { SubscribePayload } from 'graphql-ws';
import { DomainError } from '../errors.ts';
import { never } from './never.ts';
import { openPlaces } from './places.ts';

/** Under way at once on one socket. */
const MAX_OPERATIONS = 100;
/** Queries of one socket that are executed, or whose answer has not left: as many answers as it can make wait here. */
const MAX_QUERIES = 4;

/**
 * What one socket has under way, by the message that asked for it: as soon as a client has completed an operation it may
 * use the id again, while here the first one is still ending.
 */
export interface Operations {
  /**
   * Counts an operation until `end`.
   * @throws DomainError TOO_MANY_OPERATIONS
   */
  readonly begin: (id: string, payload: SubscribePayload) => void;
  /** Calls `leave` when the operation ends. */
  readonly track: (payload: SubscribePayload, leave: () => void) => void;
  /**
   * Resolves with true when the query may be executed; its place is free again at its `end`. With false when nobody waits
   * for it any more.
   */
  readonly place: (payload: SubscribePayload) => Promise<boolean>;
  /** Its client has: it needs no place any more, unless it has one. */
  readonly complete: (id: string) => void;
  /** It is over, or was never begun; more than once is harmless. */
  readonly end: (id: string, payload: SubscribePayload) => void;
  readonly endAll: () => void;
  /** A newer operation has its id, or had it. */
  readonly isSuperseded: (payload: SubscribePayload) => boolean;
  /**
   * Never resolves for an operation whose id has gone to a newer one, which is ended instead: graphql-ws tells operations
   * apart by their ids alone, and would send, complete and forget the newer one in its place.
   */
  readonly unlessSuperseded: (id: string, payload: SubscribePayload) => Promise<void>;
}

export function openOperations(): Operations {
  const underWay = new Map<SubscribePayload, () => void>();
  const newest = new Map<string, SubscribePayload>();
  const superseded = new WeakSet<SubscribePayload>();
  const completed = new WeakSet<SubscribePayload>();
  const places = openPlaces<SubscribePayload>(MAX_QUERIES);
  const end = (id: string, payload: SubscribePayload): void => {
    underWay.get(payload)?.();
    underWay.delete(payload);
    places.giveBack(payload);
    if (newest.get(id) === payload) newest.delete(id);
  };
  return {
    begin: (id, payload) => {
      const before = newest.get(id);
      if (before) superseded.add(before);
      newest.set(id, payload);
      if (underWay.size >= MAX_OPERATIONS) throw tooMany();
      underWay.set(payload, () => undefined);
    },
    track: (payload, leave) => {
      if (underWay.has(payload)) underWay.set(payload, leave);
      else leave();
    },
    place: (payload) => (completed.has(payload) ? Promise.resolve(false) : places.take(payload)),
    complete: (id) => {
      const payload = newest.get(id);
      if (!payload) return;
      completed.add(payload);
      places.giveUp(payload);
    },
    end,
    endAll: () => {
      places.close();
      for (const leave of underWay.values()) leave();
      underWay.clear();
      newest.clear();
    },
    isSuperseded: (payload) => superseded.has(payload),
    unlessSuperseded: async (id, payload) => {
      if (!superseded.has(payload)) return;
      end(id, payload);
      await never();
    },
  };
}

function tooMany(): DomainError {
  return new DomainError(
    'TOO_MANY_OPERATIONS',
    `more than ${String(MAX_OPERATIONS)} operations at once on this socket`,
  );
}
