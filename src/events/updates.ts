/** One thing that an event of a notification tells: a routing tells one for each delivery that it decided on. */
export interface Update {
  /** Within the event, counted from 0; with the event's position it names the update for good. */
  readonly index: number;
  /** Whether further updates of the same event follow. */
  readonly hasNext: boolean;
  /** Null where it is about the whole notification. */
  readonly deliveryId: string | null;
  /** What the event says of it, its id included; never to be changed, for it may be the event's own data. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** The updates of an event with this data, in order; always at least one. */
export function updatesOf(data: unknown): readonly Update[] {
  const said = data as Update['detail'];
  const all = said['decisions'];
  if (!Array.isArray(all) || all.length === 0) return [updateOf(said, 0, 1)];
  const { decisions: _, ...rest } = said;
  return all.map((decision: Update['detail'], index) => updateOf({ ...rest, ...decision }, index, all.length));
}

function updateOf(detail: Update['detail'], index: number, count: number): Update {
  const { deliveryId } = detail;
  return {
    index,
    hasNext: index + 1 < count,
    deliveryId: typeof deliveryId === 'string' ? deliveryId : null,
    detail,
  };
}
