import type { EventBatch, Position, RecordedEvent } from './event-log.ts';

const MAX_BATCH_EVENTS = 500;
const MAX_BATCH_BYTES = 1024 * 1024;

/** What has come from the server and is not taken yet: one batch at most, then nothing more is read. */
export interface Inbox {
  /** Everything that matches up to here is in the inbox or taken. */
  readonly position: () => Position;
  readonly put: (event: RecordedEvent, bytes: number) => void;
  /** Nothing that matches lies before `position` any more. Never moves back. */
  readonly moveTo: (position: Position) => void;
  /** An end of the log that was read since the subscription began; null: it is not known where the end is now. */
  readonly setGoal: (head: Position | null) => void;
  /** The furthest goal so far. */
  readonly goal: () => Position;
  /** What is there may be taken, though it is not a full batch; also when nothing is there but that the end was reached. */
  readonly offer: () => void;
  /** Resolves when there is room. */
  readonly room: () => Promise<void>;
  /** The next batch; null once it is closed. Rejects with what it failed with, after the last batch. */
  readonly take: () => Promise<EventBatch | null>;
  readonly fail: (error: unknown) => void;
  readonly close: () => void;
}

interface State {
  position: Position;
  goal: Position | null;
  /** The furthest goal so far. */
  furthest: Position;
  events: RecordedEvent[];
  bytes: number;
  /** Where the last batch ended; null before the first, which always comes. */
  taken: Position | null;
  /** Whether the last batch was live. */
  live: boolean;
  offered: boolean;
  closed: boolean;
  failure: { readonly error: unknown } | null;
  /** Those who wait for something to change. */
  waiting: (() => void)[];
}

export function openInbox(after: Position): Inbox {
  const state: State = {
    position: after,
    goal: null,
    furthest: after,
    events: [],
    bytes: 0,
    taken: null,
    live: false,
    offered: false,
    closed: false,
    failure: null,
    waiting: [],
  };
  const set = (changes: Partial<State>): void => {
    Object.assign(state, changes);
    notify(state);
  };
  return {
    position: () => state.position,
    put: (event, bytes) => {
      state.events.push(event);
      state.bytes += bytes;
      state.position = event.position;
      if (isFull(state)) notify(state);
    },
    moveTo: (position) => {
      if (position > state.position) state.position = position;
    },
    setGoal: (head) => {
      if (head !== null && head > state.furthest) state.furthest = head;
      state.goal = head === null ? null : state.furthest;
    },
    goal: () => state.furthest,
    offer: () => set({ offered: true }),
    room: async () => {
      while (isFull(state) && !state.closed) await changed(state);
    },
    take: () => take(state),
    fail: (error) => set({ failure: { error } }),
    close: () => set({ closed: true }),
  };
}

async function take(state: State): Promise<EventBatch | null> {
  while (!state.closed) {
    if (isReady(state)) return takeBatch(state);
    if (state.failure) throw state.failure.error;
    await changed(state);
  }
  return null;
}

function takeBatch(state: State): EventBatch {
  const { events, position } = state;
  const live = isLive(state) && !isFull(state);
  const batch = { events, position, live };
  Object.assign(state, { events: [], bytes: 0, taken: position, live, offered: false });
  notify(state);
  return batch;
}

function isFull({ events, bytes }: State): boolean {
  return events.length >= MAX_BATCH_EVENTS || bytes >= MAX_BATCH_BYTES;
}

function isLive({ goal, position }: State): boolean {
  return goal !== null && position >= goal;
}

function isReady(state: State): boolean {
  const { events, taken, live, position, offered, failure } = state;
  const moved = taken !== null && position > taken;
  const news = events.length > 0 || moved || (isLive(state) && !live);
  return isFull(state) || (news && (offered || failure !== null));
}

function changed(state: State): Promise<void> {
  return new Promise((resolve) => {
    state.waiting.push(resolve);
  });
}

function notify(state: State): void {
  for (const resume of state.waiting.splice(0)) resume();
}
