import { CaseTag, defaultOperators, filters, toValue, type Context, type Emitter, type Operators } from 'liquidjs';

/**
 * What rendering costs, counted against liquidjs' memory limit: a character counts one, and what takes time counts as
 * many characters as it roughly takes the time of. So loops that write nothing end too.
 */

/** For a tag or an output that is reached, and for each time that the body of a tag is. */
export const STEP = 50;
/** For an element of a list. */
const ELEMENT = 20;
/** For a filter or a comparison, beside what it is given. */
const CALL = 5;
/** For each character of the format of a date. */
const DATE_FORMAT = 10;

/** These lengthen their input and, alone among the filters for text, do not count it. */
const UNCOUNTED_FILTERS = new Set(['url_encode', 'url_decode', 'cgi_escape', 'uri_escape', 'slugify']);
/** These compare what they look for at every place of the text anew. */
const SEARCHES_FROM_THE_END = new Set(['remove_last', 'replace_last']);

/** V8 finds longer patterns in a time that grows with the product of both lengths. */
const PATTERN_LENGTH = 250;
const SEARCHES = new Set(['split', 'replace', 'replace_first', 'remove', 'remove_first']);

type Given = (typeof filters)[string];
type FilterFunction = Extract<Given, (...given: never) => unknown>;
export type FilterThis = ThisParameterType<FilterFunction>;
type Counter = Pick<Context, 'memoryLimit'>;

export function countText({ memoryLimit }: Counter, value: unknown): void {
  if (typeof value === 'string') memoryLimit.use(value.length);
  if (!Array.isArray(value)) return;
  memoryLimit.use(ELEMENT * value.length);
  for (const item of value) countText({ memoryLimit }, item);
}

/** All filters of liquidjs, made to count what they are given where they count too little themselves. */
export const countedFilters: readonly (readonly [string, FilterFunction])[] = Object.entries(filters).map(
  ([name, filter]) => [name, counted(name, filter)] as const,
);

function counted(name: string, filter: Given | undefined): FilterFunction {
  if (typeof filter !== 'function') return (value: unknown) => value;
  return function (this: FilterThis, ...given: [unknown, ...unknown[]]): unknown {
    countGiven(this.context, name, given);
    return filter.apply(this, given);
  };
}

function countGiven(context: Counter, name: string, [value, ...options]: readonly unknown[]): void {
  context.memoryLimit.use(CALL * (options.length + 1));
  // Lists are turned into text, and objects into lists, before liquidjs counts them.
  if (typeof value !== 'string' || UNCOUNTED_FILTERS.has(name)) countText(context, value);
  const entries = isPlainObject(value) ? Object.keys(value).length : 0;
  context.memoryLimit.use(ELEMENT * entries);
  const times = Array.isArray(value) ? value.length : Math.max(entries, timesRead(name, value));
  if (SEARCHES.has(name)) countSearch(context, value, options[0]);
  for (const option of options) {
    // The name of a field, say, is taken apart for each element.
    if (typeof option === 'string') context.memoryLimit.use(option.length * Math.max(times, 1));
    else countText(context, option);
  }
}

function countSearch({ memoryLimit }: Counter, text: unknown, pattern: unknown): void {
  if (typeof text !== 'string' || typeof pattern !== 'string') return;
  if (pattern.length > PATTERN_LENGTH) memoryLimit.use(text.length * pattern.length);
}

function timesRead(name: string, value: unknown): number {
  if (name.startsWith('date')) return DATE_FORMAT;
  return SEARCHES_FROM_THE_END.has(name) && typeof value === 'string' ? value.length : 1;
}

function isPlainObject(value: unknown): value is object {
  const prototype: unknown = typeof value === 'object' && value !== null ? Object.getPrototypeOf(value) : undefined;
  return prototype === Object.prototype || prototype === null;
}

/** The operators that walk what they are given; the others look at it once. */
export const countedOperators: Operators = {
  ...defaultOperators,
  contains: countedOperator('contains', (context, list, wanted) => {
    countText(context, list);
    countText(context, wanted);
    countSearch(context, list, wanted);
  }),
  '==': countedOperator('==', countLists),
  '!=': countedOperator('!=', countLists),
};

function countLists(context: Counter, left: unknown, right: unknown): void {
  if (Array.isArray(left) && Array.isArray(right)) countText(context, left);
}

function countedOperator(
  name: string,
  count: (context: Counter, left: unknown, right: unknown) => void,
): Operators[string] {
  const operator = defaultOperators[name];
  if (operator === undefined) throw new Error(`liquidjs has no operator ${name}`);
  return (left: unknown, right: unknown, context: Context) => {
    context.memoryLimit.use(CALL);
    count(context, left, right);
    return operator(left, right, context);
  };
}

/** `case` that refuses lists: it compares without an operator, and so without being counted. */
export class CaseOfOneValue extends CaseTag {
  override *render(context: Context, emitter: Emitter): Generator<unknown, void> {
    const target: unknown = yield this.value.value(context, true);
    if (Array.isArray(toValue(target))) throw new TypeError('case works on one value, not on a list');
    yield* super.render(context, emitter);
  }
}
