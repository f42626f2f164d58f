/** How many copies of each message somebody got, by what names it. */
export type Copies = ReadonlyMap<string, number>;

export interface Tally {
  readonly copies: Copies;
  readonly add: (name: string, number?: number) => void;
}

export function openTally(): Tally {
  const copies = new Map<string, number>();
  return { copies, add: (name, number = 1) => void copies.set(name, (copies.get(name) ?? 0) + number) };
}
