/** One thing that an event of a notification tells: a routing tells one for each delivery that it decided on. */
export interface Update {
  /** Within the event, counted from 0; with the event's position it names the update for good. */
  readonly index: number;
  /** Whether further updates of the same event follow. */
  readonly hasNext: boolean;
  /** Null where it is about the whole notification. */
  readonly deliveryId: string | null;
  /** What the event says of it. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** The updates of an event with this data, in order; always at least one. */
export function updatesOf(data: unknown): readonly Update[] {
  const told = partsOf(data as Readonly<Record<string, unknown>>);
  return told.map(({ deliveryId, ...detail }, index) => ({
    index,
    hasNext: index + 1 < told.length,
    deliveryId: typeof deliveryId === 'string' ? deliveryId : null,
    detail,
  }));
}

function partsOf(data: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] {
  const { decisions, ...rest } = data;
  return Array.isArray(decisions) && decisions.length > 0
    ? decisions.map((decision: Readonly<Record<string, unknown>>) => ({ ...rest, ...decision }))
    : [data];
}
