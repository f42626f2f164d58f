import type { RecordedEvent } from './ports/event-log/event-log.ts';

/** Where progress is told. */
export interface Screen {
  readonly write: (text: string) => void;
  /** A terminal: the line is written again and again in its place. */
  readonly isTerminal: boolean;
  readonly now: () => number;
}

/** How far it is, for people. */
export interface Progress {
  /** Ends it with a line that stays. */
  readonly end: (line: string) => void;
}

const EVERY_MS = { terminal: 500, lines: 5_000 };

/** Tells `line` every now and then. */
export function startProgress({ write, isTerminal }: Screen, line: () => string): Progress {
  const clear = isTerminal ? '\r\u001B[2K' : '';
  const tell = (): void => {
    write(isTerminal ? `${clear}${line()}` : `${line()}\n`);
  };
  const timer = setInterval(tell, isTerminal ? EVERY_MS.terminal : EVERY_MS.lines);
  return {
    end: (last) => {
      clearInterval(timer);
      write(`${clear}${last}\n`);
    },
  };
}

/** What one projection has folded so far. */
export interface Count {
  readonly folded: (event: RecordedEvent) => void;
  readonly line: () => string;
  readonly summary: () => string;
}

/** How much of the log that is nobody knows: positions have no distances. What is told is when the last event was recorded. */
export function openCount(name: string, now: () => number): Count {
  const begun = now();
  let events = 0;
  let at: string | null = null;
  const seconds = (): number => Math.max((now() - begun) / 1_000, 0.001);
  const rate = (): string => `${grouped(Math.round(events / seconds()))} a second`;
  return {
    folded: ({ metadata }) => {
      events += 1;
      at = metadata.occurredAt;
    },
    line: () => `${name}: ${grouped(events)} events, ${rate()}${at === null ? '' : `, up to ${at}`}`,
    summary: () => `${name}: done, ${grouped(events)} events in ${seconds().toFixed(1)} s, ${rate()}`,
  };
}

export function grouped(number: number): string {
  return number.toLocaleString('en');
}
