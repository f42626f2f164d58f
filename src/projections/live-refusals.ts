import { DomainError } from '../errors.ts';
import { CHANNELS } from '../events/event.ts';
import type { Log } from '../log.ts';
import type { Passed, Story } from './live-story.ts';
import type { DeliveryFilter, DeliveryRequest } from './live-updates.ts';

/** Longer than any cursor that was handed out. */
const MAX_CURSOR = 512;

/** In characters, as long as commands take them; a notification's id is a UUID. */
const MAX_TEXT = { notificationId: 36, userId: 255, campaign: 200 } as const;

/**
 * What can match nothing is not kept for as long as somebody waits for it.
 * @throws DomainError INVALID_INPUT, INVALID_CURSOR
 */
export function checkRequest({ filter, after }: DeliveryRequest): void {
  checkText(filter, 'notificationId');
  checkText(filter, 'userId');
  checkText(filter, 'campaign');
  if (filter.channels?.length === 0) throw unusable('channels', 'is empty; leave it out for every channel');
  if ((filter.channels?.length ?? 0) > CHANNELS.length) throw unusable('channels', 'holds a channel twice');
  if (after !== null && after.length > MAX_CURSOR) throw invalidCursor('not a cursor of this service');
}

function checkText(filter: DeliveryFilter, field: keyof typeof MAX_TEXT): void {
  const most = MAX_TEXT[field];
  if (filter[field] === '') throw unusable(field, 'is empty; leave it out for every one');
  if ((filter[field]?.length ?? 0) > most) throw unusable(field, `is over ${String(most)} characters`);
}

function unusable(field: keyof DeliveryFilter, reason: string): DomainError {
  return new DomainError('INVALID_INPUT', `${field} ${reason}`, `filter.${field}`);
}

export function invalidCursor(message: string): DomainError {
  return new DomainError('INVALID_CURSOR', message, 'after');
}

export function tooOld(): DomainError {
  return new DomainError('CURSOR_TOO_OLD', 'what came after the cursor is no longer kept for resuming', 'after');
}

/** Of an event that stood in the stream: it was deleted with it, or this copy of the log has not come so far. */
export function missing({ positions }: Story): Error {
  return positions.size === 0 ? tooOld() : new Error('the stream lacks an event that the log told of');
}

/** For callers: whatever is wrong with the log, they can only try again. What is a refusal already stays one. */
export function unavailable(logger: Log, err: unknown): DomainError {
  if (err instanceof DomainError) return err;
  logger.warn({ projection: 'live', err }, 'the event log could not be read for a subscriber');
  return new DomainError('UNAVAILABLE', 'the event log cannot be read now; resume from the last cursor');
}

/** What nobody can be told must keep nobody from being told the rest. */
export function reportPassed(logger: Log): Passed {
  return ({ stream, type, position, metadata: { correlationId: requestId } }, err) => {
    logger.error(
      { projection: 'live', stream, type, position, requestId, err },
      'passed an event that nobody could be told',
    );
  };
}
