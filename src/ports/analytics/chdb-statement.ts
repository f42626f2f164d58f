/** A complaint of ours in ClickHouse's terms, so that the client tells it like one of the engine's. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(
    readonly status: number,
    readonly code: number,
    readonly type: string,
    message: string,
  ) {
    super(`Code: ${String(code)}. DB::Exception: ${message}. (${type})`);
  }
}

export function notSupported(what: string): Refusal {
  return new Refusal(501, 48, 'NOT_IMPLEMENTED', `The embedded engine does not support ${what}`);
}

export type Settings = ReadonlyMap<string, string>;

/** Strings, quoted names and comments, in which nothing means anything; and what means something outside of them. */
const TOKENS = new RegExp(
  [
    String.raw`'(?:[^'\\]|\\[^]|'')*'`,
    String.raw`"(?:[^"\\]|\\[^]|"")*"`,
    String.raw`${'`'}(?:[^${'`'}\\]|\\[^]|${'``'})*${'`'}`,
    String.raw`--[^\n]*`,
    String.raw`#[! ][^\n]*`,
    String.raw`/\*[^]*?\*/`,
    String.raw`\$(?<tag>\w*)\$[^]*?\$\k<tag>\$`,
    String.raw`(?<end>;)`,
    String.raw`\{\s*(?<name>[A-Za-z_]\w*)\s*:\s*(?<type>[^{}]+?)\s*\}`,
  ].join('|'),
  'g',
);

/**
 * One statement with its parameters put in as literals, without a semicolon at the end.
 * @throws Refusal on a second statement, a parameter without a value, or a zero byte, at which the engine might end it.
 */
export function oneStatement(sql: string, params: ReadonlyMap<string, string>): string {
  const statement = withLiterals(sql, params);
  if (statement.includes('\0'))
    throw new Refusal(400, 62, 'SYNTAX_ERROR', 'Syntax error: A statement has no zero bytes');
  return statement;
}

function withLiterals(sql: string, params: ReadonlyMap<string, string>): string {
  const text = sql.trim().replace(/(?:;\s*)+$/, '');
  return text.replaceAll(TOKENS, (token: string, ...found: unknown[]) => {
    const { end, name, type } = groupsOf(found);
    if (end !== undefined) throw new Refusal(400, 62, 'SYNTAX_ERROR', 'Syntax error: Multi-statements are not allowed');
    return name === undefined || type === undefined ? token : literal(name, type, params.get(name));
  });
}

function groupsOf(found: readonly unknown[]): Readonly<Record<string, string | undefined>> {
  return found.at(-1) as Readonly<Record<string, string | undefined>>;
}

/*
 * Not by the engine's own parameters: its bindings let one query with parameters at a time into the whole process, so that
 * a heavy one would hold up all the others.
 */
function literal(name: string, type: string, value: string | undefined): string {
  if (value === undefined) {
    throw new Refusal(400, 456, 'UNKNOWN_QUERY_PARAMETER', `Substitution \`${name}\` is not set`);
  }
  if (type === 'Identifier') return `\`${unescape(value).replaceAll(/[\\`]/g, String.raw`\$&`)}\``;
  if (value === String.raw`\N`) return `CAST(NULL AS ${type})`;
  // The parts of composite values are escaped once more, and are unescaped by the cast.
  const text = /^(Array|Map|Tuple)\(/.test(type) ? value : unescape(value);
  return `CAST(${quoted(text)} AS ${type})`;
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', 0: '\0' };

/** From the form in which values stand in an address: a tab as \t, a backslash doubled. */
function unescape(value: string): string {
  return value.replaceAll(/\\([^])/g, (_, letter: string) => ESCAPES[letter] ?? letter);
}

/** A string as SQL has it. */
function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, String.raw`\$&`).replaceAll('\0', String.raw`\0`)}'`;
}

/** The statement with its settings, which hold for it alone; settings of the engine's session would stick to it. */
export function withSettings(statement: string, settings: Settings): string {
  if (settings.size === 0) return statement;
  const format = /\bFORMAT\s+\w+$/i.test(statement) ? '' : ' FORMAT TabSeparated';
  const pairs = [...settings].map(([name, value]) => `${settingName(name)} = ${quoted(value)}`);
  return `${statement}\n${format} SETTINGS ${pairs.join(', ')}`;
}

function settingName(name: string): string {
  if (/^\w+$/.test(name)) return name;
  throw new Refusal(404, 115, 'UNKNOWN_SETTING', `Unknown setting '${name}'`);
}

const READS = new Set(['SELECT', 'WITH', 'SHOW', 'DESC', 'DESCRIBE', 'EXPLAIN', 'EXISTS']);
const CHANGES = new Set(['CREATE', 'ALTER', 'DROP', 'RENAME', 'TRUNCATE', 'OPTIMIZE']);

/**
 * Whether it only reads, by its first word.
 * @throws Refusal on what is neither a question nor a change of tables: it would be about the engine as a whole, stick to
 * its session, or bring rows that did not come with the request.
 */
export function isRead(statement: string): boolean {
  const code = statement.replace(/^(?:\s+|\(|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)+/, '');
  const word = /^\w*/.exec(code)?.[0].toUpperCase() ?? '';
  if (CHANGES.has(word)) return false;
  if (word === 'INSERT' || insertsAfterWith(word, code)) throw notSupported('INSERT without rows in the body');
  if (!READS.has(word)) throw notSupported(`statements that begin with ${word === '' ? 'no word' : word}`);
  return true;
}

function insertsAfterWith(word: string, code: string): boolean {
  return word === 'WITH' && /\bINSERT\s+INTO\b/i.test(code.replaceAll(TOKENS, ' '));
}

/** Where the rows go that come with a request. */
export interface InsertTarget {
  readonly table: string;
  readonly columns?: readonly string[];
  readonly format: string;
}

const INSERT =
  /^INSERT\s+INTO\s+(?:TABLE\s+)?(?<table>[\w.]+)\s*(?:\((?<columns>[\w\s,]*)\))?\s*FORMAT\s+(?<format>\w+)$/i;

/** @throws Refusal when it is not a plain insert of rows. */
export function insertTarget(statement: string): InsertTarget {
  const { table, columns, format } = INSERT.exec(statement)?.groups ?? {};
  if (table === undefined || format === undefined) throw notSupported('this statement together with rows');
  if (columns === undefined) return { table, format };
  return { table, format, columns: columns.split(',').map((column) => column.trim()) };
}
