import { Context, Liquid, UndefinedVariableError, filters, toValue, toValueSync, type Template } from 'liquidjs';
import type { Channel } from '../events/event.ts';
import type { TemplateVariant } from '../events/templates.ts';

/** The parts of a variant that are Liquid, in the order in which problems are looked for. */
const FIELDS = ['title', 'body', 'html'] as const;
export type TemplateField = (typeof FIELDS)[number];

export interface TemplateProblem {
  readonly field: TemplateField;
  readonly message: string;
}

export type Rendered =
  | { readonly ok: true; readonly title: string | null; readonly body: string; readonly html: string | null }
  /** `variable`: what the template asks for and the data lack, as the template writes it. */
  | { readonly ok: false; readonly field: TemplateField; readonly variable: string | null; readonly message: string };

/** Of each part, as UTF-8. */
const TEMPLATE_BYTES = 64 * 1024;
const OUTPUT_BYTES = 256 * 1024;
/** Characters that rendering one part may make. The same template and data always come as far. */
const MEMORY_LIMIT = 1_000_000;
/** What one step (a piece of the template reached, a list element handled) counts against that: loops that write nothing end too. */
const STEP = 10;
/** The last resort: what counts ends templates long before, and always at the same place. */
const RENDER_LIMIT_MS = 1_000;
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
/** These lengthen their input and, alone among the filters for text, do not count it. */
const UNCOUNTED_FILTERS = new Set(['url_encode', 'url_decode', 'cgi_escape', 'uri_escape', 'slugify']);

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
 * is one line. Usual templates take some microseconds; one that asks for too much is cut off after some tenths of a second.
 */
export function renderVariant(variant: TemplateVariant, data: Readonly<Record<string, unknown>>): Rendered {
  const parts: { title: string | null; body: string; html: string | null } = { title: null, body: '', html: null };
  for (const field of FIELDS) {
    const template = variant[field];
    if (template === null) continue;
    try {
      const text = renderPart(engineFor(field), template, data);
      parts[field] = field === 'title' ? singleLine(text) : text;
    } catch (error) {
      return { ok: false, field, variable: missingVariable(error), message: messageOf(error) };
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
    renderLimit: RENDER_LIMIT_MS,
    ...(escapes ? { outputEscape: escapeHtml } : {}),
  });
  for (const tag of FORBIDDEN_TAGS) Reflect.deleteProperty(liquid.tags, tag);
  for (const [name, filter] of Object.entries(filters)) liquid.registerFilter(name, counted(name, filter));
  for (const filter of FORBIDDEN_FILTERS) liquid.unregisterFilter(filter);
  countOutput(liquid);
  return liquid;
}

type FilterFunction = Extract<(typeof filters)[string], (...given: never) => unknown>;
type FilterThis = ThisParameterType<FilterFunction>;

/** Counts what a filter is given where the filter itself counts too little: lists are turned into text before they are counted. */
function counted(name: string, filter: (typeof filters)[string] | undefined): FilterFunction {
  if (typeof filter !== 'function') return (value: unknown) => value;
  return function (this: FilterThis, ...given: [unknown, ...unknown[]]): unknown {
    for (const value of given) {
      if (Array.isArray(value) || UNCOUNTED_FILTERS.has(name)) countText(this.context, value);
    }
    return filter.apply(this, given);
  };
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
    context.memoryLimit.use(STEP * (templates.length + 1));
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

function countText({ memoryLimit }: Pick<Context, 'memoryLimit'>, value: unknown): void {
  if (typeof value === 'string') memoryLimit.use(value.length);
  if (!Array.isArray(value)) return;
  memoryLimit.use(STEP * value.length);
  for (const item of value) countText({ memoryLimit }, item);
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

/** Tries again when time ran out: the process may have been held up, and then the template is not to blame. */
function renderPart(engine: Engine, template: string, data: Readonly<Record<string, unknown>>): string {
  const parsed = engine.parsed(template);
  try {
    return renderOnce(engine.liquid, parsed, data);
  } catch (error) {
    if (!ranOutOfTime(error)) throw error;
    return renderOnce(engine.liquid, parsed, data);
  }
}

function renderOnce(liquid: Liquid, parsed: Template[], data: Readonly<Record<string, unknown>>): string {
  // A copy, because `increment` and `decrement` write into it.
  const values = Object.assign(Object.create(null) as object, data);
  const context = new Context(values, liquid.options, { sync: true }, { liquid });
  const read = context.readProperty.bind(context);
  // Null counts as missing, as it does when two requests are compared.
  context.readProperty = (from, key): unknown => (read(from, key) as unknown) ?? undefined;
  const text: unknown = toValueSync(liquid.renderer.renderTemplates(parsed, context));
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
