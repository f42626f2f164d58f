import { DomainError } from '../errors.ts';
import { LogUnavailable, type EventLog } from '../ports/event-log/event-log.ts';

/**
 * `log`, but a caller whose reads it does not answer is told so: a DomainError UNAVAILABLE, and no bug. Why, only `met` is
 * told.
 */
export function orUnavailable(log: EventLog, { met }: { readonly met: (fields: object) => void }): EventLog {
  const refuse = (err: unknown): never => {
    if (!(err instanceof LogUnavailable)) throw err;
    met({ err });
    throw new DomainError('UNAVAILABLE', 'the event log gave no answer in time');
  };
  return {
    ...log,
    read: (stream, after) => log.read(stream, after).catch(refuse),
    last: (stream) => log.last(stream).catch(refuse),
    head: () => log.head().catch(refuse),
  };
}
