import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { CANCEL_REASONS, DECISION_REASONS, SUPPRESS_REASONS } from '../src/events/notifications.ts';
import {
  BOUNCE_REASONS,
  type ReceiptVerdict,
  REJECT_REASONS,
  RETRY_REASONS,
  UNKNOWN_REASONS,
} from '../src/events/outcome.ts';
import * as smtp from '../src/senders/email-smtp-outcome.ts';
import * as fcm from '../src/senders/push-fcm-outcome.ts';
import * as twilio from '../src/senders/sms-twilio-outcome.ts';
import { RECEIPT_RULES } from '../src/senders/sms-twilio-receipt.ts';
import type { Verdict } from '../src/senders/verdict.ts';

interface Ruled {
  readonly name: string;
  readonly verdict: Verdict | ReceiptVerdict;
  readonly afterMs?: number;
  readonly sources: readonly string[];
}

const PROVIDERS: readonly (readonly [string, readonly Ruled[]])[] = [
  ['SMTP', [...smtp.RULES, ...Object.values(smtp.UNFORESEEN)]],
  ['Twilio: answers', twilio.RULES],
  ['Twilio: receipts', RECEIPT_RULES],
  ['FCM', [...fcm.RULES, ...Object.values(fcm.UNFORESEEN)]],
];

const REASONS = {
  retry: RETRY_REASONS,
  rejected: REJECT_REASONS,
  unknown: UNKNOWN_REASONS,
  bounced: BOUNCE_REASONS,
  decision: DECISION_REASONS,
  cancelled: CANCEL_REASONS,
  suppressed: SUPPRESS_REASONS,
} as const;

let text = '';
beforeAll(async () => {
  text = await readFile(new URL('../docs/providers.md', import.meta.url), 'utf8');
});

/** Cells of the rows below a heading; the first two lines of a table are its head. */
function rowsBelow(heading: string): readonly (readonly string[])[] {
  const [, section = ''] = text.split(`\n## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  const lines = own.split('\n').filter((line) => line.startsWith('|'));
  return lines.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** At the end of the page. */
const DEFINITION = /^\[([^\]]+)\]: (\S+)$/gm;

function definitions(): readonly (readonly [string, string])[] {
  return [...text.matchAll(DEFINITION)].map(([, label = '', url = '']) => [label, url]);
}

function labelsIn(words: string): readonly string[] {
  return [...words.replaceAll(DEFINITION, '').matchAll(/\[([^\]]+)\](?!\()/g)].map(([, label = '']) => label);
}

function documented([name, said = '', outcome, reason]: readonly string[]): object {
  const urls = new Map(definitions());
  return { name, outcome, reason, sources: new Set(labelsIn(said).map((label) => urls.get(label))) };
}

function ruled({ name, verdict, afterMs, sources }: Ruled): object {
  const pause = afterMs === undefined ? '' : ` after ${String(afterMs / 1_000)} s`;
  const reason = 'reason' in verdict ? `\`${verdict.reason}\`` : '–';
  return { name, outcome: `\`${verdict.kind}\`${pause}`, reason, sources: new Set(sources) };
}

describe('docs/providers.md', () => {
  it.each(PROVIDERS)('has the rules of %s, in their order, with outcome, reason and sources', (heading, rules) => {
    expect(rowsBelow(heading).map(documented)).toEqual(rules.map(ruled));
  });

  it.each(PROVIDERS)(
    'says of every rule of %s what it means, and names no error code that is not in it',
    (heading, rules) => {
      const rows = rowsBelow(heading);
      expect(rows).toHaveLength(rules.length);
      for (const [index, { name, sources }] of rules.entries()) {
        const [, said = '', , , meaning = ''] = rows[index] ?? [];
        expect(said === '–', name).toBe(sources.length === 0);
        expect(meaning, name).toMatch(/^[A-Z“].+\.$/);
        for (const [code] of `${said} ${meaning}`.matchAll(/\b\d{5}\b/g)) {
          expect(sources, name).toContain(twilio.errorPage(Number(code)));
        }
      }
    },
  );

  it('explains every reason code, and no other', () => {
    const expected = Object.entries(REASONS).flatMap(([of, reasons]) => reasons.map((reason) => [`\`${reason}\``, of]));
    const rows = rowsBelow('Reason codes');
    expect(rows.map(([reason, of]) => [reason, of])).toEqual(expected);
    for (const [reason, , says, toDo] of rows)
      for (const cell of [says, toDo]) expect(cell, reason).toMatch(/^[A-Z].+\.$/);
  });

  it('defines every source that it names, once, and names every one that it defines', () => {
    const defined = definitions().map(([label]) => label);
    expect(defined.toSorted()).toEqual([...new Set(labelsIn(text))].toSorted());
  });

  it('gives each rule of a provider a name of its own', () => {
    for (const [heading, rules] of PROVIDERS) {
      expect(new Set(rules.map(({ name }) => name)).size, heading).toBe(rules.length);
    }
  });
});
