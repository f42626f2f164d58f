import { Context, Liquid, UndefinedVariableError, toValue, toValueSync, TokenKind, type Template } from 'liquidjs';
import { CaseOfOneValue, STEP, countText, countedFilters, countedOperators, type FilterThis } from './render-costs.ts';
import type { Channel } from '../events/event.ts';
import type { TemplateVariant } from '../events/templates.ts';

/** The parts of a variant that are Liquid, in the order in which problems are looked for. */
const FIELDS = ['title', 'body', 'html'] as const;
export type TemplateField = (typeof FIELDS)[number];

export interface TemplateProblem {
  readonly field: TemplateField;
  readonly message: string;
}

type Data = Readonly<Record<string, unknown>>;

export type Rendered =
  | { readonly ok: true; readonly title: string | null; readonly body: string; readonly html: string | null }
  | RenderFailure;

export interface RenderFailure {
  readonly ok: false;
  readonly field: TemplateField;
  /** What the template asks for and the data lack, as the template writes it. */
  readonly variable: string | null;
  /** Whether the clock stopped it, and nothing else: the process may have stood still, and another try may succeed. */
  readonly tooSlow: boolean;
  readonly message: string;
}

/** Of each part, as UTF-8. */
const TEMPLATE_BYTES = 64 * 1024;
const OUTPUT_BYTES = 256 * 1024;
/** The longest line that a mail header may have: RFC 5322, section 2.1.1. */
const TITLE_LENGTH = 998;
/** What rendering one part may cost, in characters; see render-costs.ts. The same template and data always come as far. */
const MEMORY_LIMIT = 1_000_000;
/** For all parts together. The last resort: what is counted ends most templates before, and always at the same place. */
const RENDER_LIMIT_MS = 100;
const MESSAGE_LENGTH = 300;

/** A tag that reads other templates, or only makes sense in them. */
const FORBIDDEN_TAGS = ['include', 'render', 'layout', 'block'];
const FORBIDDEN_FILTERS = [
  // Would end the escaping of HTML.
  'raw',
  // Make text that the memory limit does not see in full.
  ...['json', 'jsonify', 'inspect'],
  // Run text as a program, which may come from the data.
  ...['where_exp', 'reject_exp', 'group_by_exp', 'has_exp', 'find_exp', 'find_index_exp'],
];
/** The first part that does not parse, is too large, or uses what is forbidden; null when the variant can be published. */
export function checkVariant(variant: TemplateVariant): TemplateProblem | null {
  for (const field of FIELDS) {
    const text = variant[field];
    if (text === null) continue;
    try {
      parse(engineFor(field).liquid, text);
    } catch (error) {
      return { field, message: messageOf(error) };
    }
  }
  return null;
}

/** The variant for exactly this channel, else the one for every channel. */
export function chooseVariant(variants: readonly TemplateVariant[], channel: Channel): TemplateVariant | null {
  return variants.find((own) => own.channel === channel) ?? variants.find((any) => any.channel === null) ?? null;
}

/**
 * Fills in the data. A variable that is missing or null is an error, except where the template asks (`if`, `unless`,
 * `case`, `assign`, `default`); nothing but the data's own fields can be read. In HTML every value comes out escaped; a title
 * is one line of at most 998 characters. Usual templates take some microseconds; one that asks for too much is cut off, at
 * the latest after about 100 ms.
 */
export function renderVariant(variant: TemplateVariant, data: Data): Rendered {
  const parts: { title: string | null; body: string; html: string | null } = { title: null, body: '', html: null };
  const until = performance.now() + RENDER_LIMIT_MS;
  for (const field of FIELDS) {
    const template = variant[field];
    if (template === null) continue;
    try {
      const text = renderPart(engineFor(field), template, data, until);
      parts[field] = field === 'title' ? titleLine(text) : text;
    } catch (error) {
      const tooSlow = ranOutOfTime(error);
      return { ok: false, field, variable: missingVariable(error), tooSlow, message: messageOf(error) };
    }
  }
  return { ok: true, ...parts };
}

interface Engine {
  readonly liquid: Liquid;
  readonly parsed: (text: string) => Template[];
}

const TEXT = openEngine(openLiquid(false));
const HTML = openEngine(openLiquid(true));

function engineFor(field: TemplateField): Engine {
  return field === 'html' ? HTML : TEXT;
}

function openEngine(liquid: Liquid): Engine {
  return { liquid, parsed: remember((text) => parse(liquid, text)) };
}

function openLiquid(escapes: boolean): Liquid {
  const liquid = new Liquid({
    strictVariables: true,
    strictFilters: true,
    lenientIf: true,
    ownPropertyOnly: true,
    // Instead of the file system; dates come out the same on every machine.
    templates: {},
    locale: 'en-US',
    timezoneOffset: 0,
    parseLimit: TEMPLATE_BYTES,
    memoryLimit: MEMORY_LIMIT,
    operators: countedOperators,
    ...(escapes ? { outputEscape: escapeHtml } : {}),
  });
  for (const tag of FORBIDDEN_TAGS) Reflect.deleteProperty(liquid.tags, tag);
  for (const [name, filter] of countedFilters) liquid.registerFilter(name, filter);
  liquid.registerTag('case', CaseOfOneValue);
  for (const filter of FORBIDDEN_FILTERS) liquid.unregisterFilter(filter);
  countOutput(liquid);
  return liquid;
}

/** For everything that is written, after the template's own filters. */
function escapeHtml(this: FilterThis, value: unknown): string {
  countText(this.context, value);
  const text = textOf(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return text.replaceAll('"', '&#34;').replaceAll("'", '&#39;');
}

/** Makes steps, `capture` and the whole output count; liquidjs counts only what passes through filters. */
function countOutput({ renderer }: Liquid): void {
  const render = renderer.renderTemplates.bind(renderer);
  renderer.renderTemplates = (templates, context, emitter = openEmitter(context)) => {
    const pieces = templates.filter(({ token }) => token.kind !== TokenKind.HTML);
    context.memoryLimit.use(STEP * (pieces.length + 1));
    return render(templates, context, emitter);
  };
}

function openEmitter(context: Context): { buffer: string; write: (value: unknown) => void } {
  const emitter = {
    buffer: '',
    write: (value: unknown) => {
      countText(context, value);
      emitter.buffer += textOf(value);
    },
  };
  return emitter;
}

/** As liquidjs writes values, except that an object is a mistake of the template and not `[object Object]`. */
function textOf(value: unknown): string {
  const plain: unknown = toValue(value);
  if (plain === null || plain === undefined) return '';
  if (typeof plain === 'string') return plain;
  if (Array.isArray(plain)) return plain.map(textOf).join('');
  if (typeof plain === 'number' || typeof plain === 'boolean') return String(plain);
  throw new TypeError('only text, numbers, booleans and lists of them can be written');
}

function parse(liquid: Liquid, text: string): Template[] {
  const bytes = Buffer.byteLength(text);
  if (bytes > TEMPLATE_BYTES) throw new RangeError(`${String(bytes)} bytes; at most ${String(TEMPLATE_BYTES)}`);
  return liquid.parse(text);
}

function renderPart({ liquid, parsed }: Engine, template: string, data: Data, until: number): string {
  const templates = parsed(template);
  const renderLimit = until - performance.now();
  // A copy, because `increment` and `decrement` write into it.
  const values = Object.assign(Object.create(null) as object, data);
  const context = new Context(values, liquid.options, { sync: true, renderLimit }, { liquid });
  const read = context.readProperty.bind(context);
  // Null counts as missing, as it does when two requests are compared.
  context.readProperty = (from, key): unknown => (read(from, key) as unknown) ?? undefined;
  const text: unknown = toValueSync(liquid.renderer.renderTemplates(templates, context));
  if (typeof text !== 'string') throw new TypeError('rendering made no text');
  if (Buffer.byteLength(text) > OUTPUT_BYTES) throw new RangeError(`the result has over ${String(OUTPUT_BYTES)} bytes`);
  return text;
}

function ranOutOfTime(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('template render limit exceeded');
}

/** Control characters, among them every line break: in a header they would begin the next one. */
function singleLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
}

function titleLine(text: string): string {
  const line = singleLine(text);
  if (line.length <= TITLE_LENGTH) return line;
  throw new RangeError(`the title has ${String(line.length)} characters; at most ${String(TITLE_LENGTH)}`);
}

function missingVariable(error: unknown): string | null {
  return error instanceof UndefinedVariableError ? error.token.getText().trim() : null;
}

/** Names what the template says; liquidjs would name what a computed key came to, which may be personal. */
function messageOf(error: unknown): string {
  const variable = missingVariable(error);
  const message = error instanceof Error ? error.message : String(error);
  return (variable === null ? message : `undefined variable: ${variable}`).slice(0, MESSAGE_LENGTH);
}

const REMEMBERED_TEMPLATES = 500;
/** Characters; a template dense with variables takes 140 bytes of memory for each. */
const REMEMBERED_LENGTH = 500_000;

/** Keeps the results used last: a version is rendered millions of times. */
function remember(make: (text: string) => Template[]): (text: string) => Template[] {
  const kept = new Map<string, Template[]>();
  let length = 0;
  return (text) => {
    const known = kept.get(text);
    const made = known ?? make(text);
    kept.delete(text);
    kept.set(text, made);
    if (known === undefined) length += text.length;
    for (const oldest of kept.keys()) {
      if (kept.size <= REMEMBERED_TEMPLATES && length <= REMEMBERED_LENGTH) break;
      kept.delete(oldest);
      length -= oldest.length;
    }
    return made;
  };
}
