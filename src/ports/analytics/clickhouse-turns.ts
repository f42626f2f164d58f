import { AnalyticsError } from './analytics.ts';
import { openWaitingRoom, type NoTurn, type WaitingRoom } from './waiting-room.ts';

/** Runs work as soon as it is its turn, in the order of the calls. */
export type Turns = WaitingRoom<number>['run'];

const MAX_WAITING = 1_000;

const REASONS: Readonly<Record<NoTurn, string>> = {
  full: 'too many queries at once',
  gone: 'it was never its turn',
  closed: 'the connection to ClickHouse is closed',
};

/**
 * Lets at most `places` run at the same time; the others wait, up to 1,000 of them and each until its signal.
 * @throws AnalyticsError when too many wait already, or the signal came first.
 */
export function openTurns(places: number): Turns {
  const numbers = Array.from({ length: places }, (_, index) => index);
  const refusal = (why: NoTurn): Error => new AnalyticsError('unavailable', REASONS[why]);
  return openWaitingRoom(numbers, { maxWaiting: MAX_WAITING, refusal }).run;
}
