/**
 * The ids of events committed since the server started, oldest forgotten first once they take 8 MiB. All that appends
 * with `ANY` or `STREAM_EXISTS` have to recognise a retry by.
 */
export interface CommittedEvents {
  readonly remember: (id: string, stream: string, number: number) => void;
  /** Number of the event with this id in this stream. An id counts for the stream that used it last. */
  readonly numberOf: (id: string, stream: string) => number | undefined;
  readonly clear: () => void;
}

const LIMIT_BYTES = 8 * 1024 * 1024;

export function openCommittedEvents(): CommittedEvents {
  const events = new Map<string, { readonly stream: string; readonly number: number }>();
  let size = 0;
  const forgetOldest = (): void => {
    for (const [id, { stream }] of events) {
      if (size <= LIMIT_BYTES) return;
      events.delete(id);
      size -= sizeOf(stream);
    }
  };
  return {
    remember: (id, stream, number) => {
      const before = events.get(id);
      if (before) size -= sizeOf(before.stream);
      events.set(id, { stream, number });
      size += sizeOf(stream);
      forgetOldest();
    },
    numberOf: (id, stream) => {
      const known = events.get(id);
      return known?.stream === stream ? known.number : undefined;
    },
    clear: () => {
      events.clear();
      size = 0;
    },
  };
}

/** As the server counts: an id, a pointer, a number and the name in UTF-16. */
function sizeOf(stream: string): number {
  return 16 + 4 + 8 + 2 * stream.length;
}
