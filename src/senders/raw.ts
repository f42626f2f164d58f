const LONGEST_RAW = 300;

/** Hiding anything shorter would hide half of every word. */
const SHORTEST_HIDDEN = 4;

/** What of a message is to be hidden where a provider repeats it: the longest first, so that no part spoils the whole. */
export function personal(texts: readonly (string | null | undefined)[]): readonly string[] {
  return texts
    .filter((text) => typeof text === 'string')
    .filter((text) => text.length >= SHORTEST_HIDDEN)
    .sort((one, other) => other.length - one.length);
}

/**
 * The provider's own word as people read it: its codes and what it said with them, on one line, at most 300 characters.
 * @param hidden What the provider may repeat and nobody may read: shown as `***` wherever it stands in `words`, each in turn.
 * A pattern must be global.
 * @returns null when nothing is left.
 */
export function readable(
  codes: readonly (string | number | null)[],
  words: string | null,
  hidden: readonly (string | RegExp)[],
): string | null {
  const shown = hidden
    .filter((secret) => secret !== '')
    .reduce<string>((text, secret) => text.replaceAll(secret, '***'), words ?? '');
  const line = [...codes, shown]
    .filter((part) => part !== null)
    .join(' ')
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return line === '' ? null : line.slice(0, LONGEST_RAW);
}
