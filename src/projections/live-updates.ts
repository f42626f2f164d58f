import type { DeliveryState } from '../events/delivery.ts';
import type { Channel } from '../events/event.ts';

/** What is left out matches. */
export interface DeliveryFilter {
  readonly notificationId: string | null;
  readonly userId: string | null;
  readonly campaign: string | null;
  readonly channels: readonly Channel[] | null;
}

export interface DeliveryUpdate {
  readonly cursor: string;
  readonly notificationId: string;
  /** As of this update. */
  readonly delivery: DeliveryState;
  /** Type of the event. */
  readonly type: string;
  readonly occurredAt: string;
}

export interface DeliveryRequest {
  readonly tenant: string;
  readonly filter: DeliveryFilter;
  /** A cursor; null: from now. */
  readonly after: string | null;
  /**
   * Told once when the subscriber is dropped as too slow, with the cursor that SlowSubscriber carries, and about a second
   * later at most, even if `next()` is never called again. The iteration is over by then.
   */
  readonly onSlow?: (cursor: string) => void;
}

export interface DeliveryUpdates {
  /**
   * Every update of the tenant's deliveries that matches after the cursor, then live, in log order, each once. Memory does
   * not grow with how slowly it is read: who falls out of what is kept in memory after having
   * caught up, and is not waiting in `next()`, is dropped.
   * `return()` settles a waiting `next()` at once.
   * @throws DomainError INVALID_CURSOR, CURSOR_TOO_OLD, INVALID_INPUT, TOO_MANY_SUBSCRIPTIONS before anything else, UNAVAILABLE;
   * SlowSubscriber from `next()`.
   */
  readonly follow: (request: DeliveryRequest) => Promise<AsyncIterableIterator<DeliveryUpdate>>;
}

/** Dropped: it read too slowly. `cursor` is of the last update that it was given; before the first, where it began. */
export class SlowSubscriber extends Error {
  override readonly name = 'SlowSubscriber';
  constructor(readonly cursor: string) {
    super('the subscriber read too slowly');
  }
}
