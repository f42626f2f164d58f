import type { SmsParts } from '../events/outcome.ts';
import type { Message } from './outcome.ts';

/** 3GPP TS 23.038 §6.2.1: one septet each. The escape to the extension table is no character of its own. */
const GSM_BASIC = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
    '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
);
/** 3GPP TS 23.038 §6.2.1.1: an escape and a septet. */
const GSM_EXTENDED = new Set('\f^{}\\[~]|€');

/** What fits into a message of one segment, and into each of several, whose header takes the difference. */
const GSM_7 = { encoding: 'GSM-7', alone: 160, each: 153 } as const;
const UCS_2 = { encoding: 'UCS-2', alone: 70, each: 67 } as const;

/** How the text is encoded and into how many segments it is cut; no character is cut in two. */
export function smsParts(text: string): SmsParts {
  const characters = Array.from(text);
  const isGsm = characters.every((character) => GSM_BASIC.has(character) || GSM_EXTENDED.has(character));
  const { encoding, alone, each } = isGsm ? GSM_7 : UCS_2;
  const sizes = characters.map((character) => (isGsm ? septets(character) : character.length));
  const size = sizes.reduce((sum, one) => sum + one, 0);
  return { encoding, segments: size <= alone ? 1 : segmentsOf(sizes, each) };
}

function septets(character: string): number {
  return GSM_EXTENDED.has(character) ? 2 : 1;
}

function segmentsOf(sizes: readonly number[], room: number): number {
  let segments = 1;
  let used = 0;
  for (const size of sizes) {
    if (used + size > room) {
      segments++;
      used = 0;
    }
    used += size;
  }
  return segments;
}

/**
 * The text of the message: its body, and its link on a line of its own unless the body has it. A text message has no
 * title. Empty when there is nothing to be read.
 */
export function smsText({ body, url }: Pick<Message, 'title' | 'body' | 'url'>): string {
  const text = clean(body);
  const link = url === null ? '' : clean(url).replace(/\s+/g, '');
  if (link === '' || mentions(text, link)) return text;
  return text === '' ? link : `${text}\n${link}`;
}

const LINE_BREAK = /\r\n|[\r\u0085\u2028\u2029]/g;
/** Every control character but the line feed, and halves of surrogate pairs, which no encoding has. */
const CONTROL = /[^\P{Cc}\n]|\p{Cs}/gu;
/**
 * Embeddings, overrides and isolates make text read otherwise than it was written, a link to one page look like a link to
 * another. Gone, too, is what nobody sees and what makes a message cost more: the soft hyphen, the zero-width space, the
 * word joiner, the byte order mark, annotations. The marks and joiners that scripts and emoji are written with stay.
 */
const UNSEEN = /[\u00ad\u200b\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]/g;

function clean(text: string): string {
  return text.replace(LINE_BREAK, '\n').replaceAll('\t', ' ').replace(CONTROL, '').replace(UNSEEN, '').trim();
}

/** Whether the text has the link itself, and not only a longer one that begins or ends with it. */
function mentions(text: string, link: string): boolean {
  for (let at = text.indexOf(link); at >= 0; at = text.indexOf(link, at + 1)) {
    const goesOn = /^[.,;:!?]*[\w/%&=#~+@-]/.test(text.slice(at + link.length));
    const begunBefore = /[\w/%&=#~+@-]$/.test(text.slice(0, at));
    if (!goesOn && !begunBefore) return true;
  }
  return false;
}
