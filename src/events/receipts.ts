import type { DomainEvent } from './event.ts';
import type { Receipt } from './outcome.ts';

/**
 * A receipt for an attempt that the log knows nothing of: it came before the attempt's claim could be seen, or it
 * belongs to another log. It is kept in a stream of its own and tried again. What is known goes straight to the
 * notification's stream.
 */
export type ReceiptEvent =
  | DomainEvent<'ReceiptParked', ReceiptParked>
  /** It is not tried again. */
  | DomainEvent<'ReceiptSettled', ReceiptSettled>;

export interface ReceiptParked {
  readonly receipt: Receipt;
}

export interface ReceiptSettled {
  readonly outcome: ReceiptEnding;
}

/** RECORDED: in the notification's stream. GIVEN_UP: its attempt stayed unknown. */
export type ReceiptEnding = 'RECORDED' | 'GIVEN_UP';

/** A receipt as its own stream tells it. */
export interface ReceiptState {
  readonly receipt: Receipt;
  readonly lastEventId: string;
  /** Null while it is tried again and again. */
  readonly settled: ReceiptEnding | null;
}

export function evolveReceipt(
  state: ReceiptState | null,
  event: ReceiptEvent,
  { id }: { readonly id: string },
): ReceiptState | null {
  switch (event.type) {
    case 'ReceiptParked':
      return { receipt: event.data.receipt, lastEventId: id, settled: null };
    case 'ReceiptSettled':
      return state && { ...state, lastEventId: id, settled: event.data.outcome };
    default:
      return state;
  }
}
