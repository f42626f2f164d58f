import { posix } from 'node:path';
import ts from 'typescript';

/**
 * Which way imports may point, as a table. Paths are relative to src. A file belongs to the first zone whose pattern it
 * fits; a file that fits none has no place in the house.
 */
interface Zone {
  readonly name: string;
  readonly files: RegExp;
  /** Files of ours that it may import. */
  readonly ours: RegExp;
  /** Files of ours of which it may import types, which leave nothing behind at run time. */
  readonly types?: RegExp;
  readonly builtins: RegExp;
  readonly packages: RegExp;
}

const ANY = /^/;
const NONE = /^(?!)/;

/** A file that speaks to one product. */
const ADAPTER = /^ports\/[\w-]+\/(lmdb|eventstoredb|in-process|rabbitmq|chdb|clickhouse)(-[\w-]+)?\.ts$/;
const OPEN = /^ports\/[\w-]+\/open\.ts$/;
const SENDER = /^senders\/((push|sms|email)-[a-z]+(-[a-z]+)*|render(-[a-z]+)*)\.ts$/;

/** What every layer but events and commands may use. */
const HOUSEHOLD = 'bell|errors|gather|ids|lifecycle|log|within';

export const ZONES: readonly Zone[] = [
  { name: 'events', files: /^events\//, ours: /^events\//, builtins: /^node:crypto$/, packages: NONE },
  {
    name: 'what commands ask a log through',
    files: /^commands\/(handle|available)\.ts$/,
    ours: /^(commands|events|ports)\/|^(errors|ids)\.ts$/,
    builtins: NONE,
    packages: NONE,
  },
  {
    name: 'commands',
    files: /^commands\//,
    ours: /^(commands|events)\/|^(errors|ids)\.ts$/,
    types: /^ports\//,
    builtins: NONE,
    packages: NONE,
  },
  {
    name: 'projections',
    files: /^projections\//,
    ours: new RegExp(`^(projections|events|ports)/|^(${HOUSEHOLD})\\.ts$`),
    builtins: ANY,
    packages: NONE,
  },
  {
    name: 'senders',
    files: /^senders\//,
    ours: new RegExp(`^(senders|events|ports)/|^(${HOUSEHOLD})\\.ts$`),
    builtins: ANY,
    packages: NONE,
  },
  {
    name: 'ports',
    files: /^ports\/[\w-]+\/[\w-]+\.ts$/,
    ours: new RegExp(`^(ports|events)/|^(${HOUSEHOLD}|lmdb|amqp-url)\\.ts$`),
    types: /^config\.ts$/,
    builtins: ANY,
    packages: NONE,
  },
  {
    name: 'sandbox',
    files: /^sandbox\//,
    ours: new RegExp(`^(sandbox|events|ports)/|^(${HOUSEHOLD})\\.ts$`),
    builtins: ANY,
    packages: ANY,
  },
  {
    name: 'api',
    files: /^api\//,
    ours: new RegExp(`^(api|commands|events|projections|ports|sandbox)/|^(${HOUSEHOLD})\\.ts$`),
    types: /^config\.ts$/,
    builtins: ANY,
    packages: /^(?!(pino|uuid)$)/,
  },
  {
    name: 'parts of app.ts',
    files:
      /^(measured|providers|read-models|readiness|rebuild-[a-z]+|receipts|single-writers|snapshot-files|snapshots|states|traced|welcome|workers)\.ts$/,
    ours: /^(commands|projections|senders|sandbox|events|ports)\/|^[\w-]+\.ts$/,
    types: /^api\//,
    builtins: ANY,
    packages: NONE,
  },
  {
    name: 'edge.ts',
    files: /^edge\.ts$/,
    ours: /^(api|commands|projections|sandbox|ports)\/|^[\w-]+\.ts$/,
    builtins: NONE,
    packages: NONE,
  },
  { name: 'app.ts', files: /^(app|rebuilding)\.ts$/, ours: ANY, builtins: ANY, packages: /^pino$/ },
  {
    name: 'bootstrap.ts',
    files: /^bootstrap\.ts$/,
    ours: /^(commands|events)\/|^[\w-]+\.ts$/,
    builtins: ANY,
    packages: NONE,
  },
  {
    name: 'config.ts',
    files: /^config(-[a-z]+)?\.ts$/,
    ours: /^events\/address\.ts$|^[\w-]+\.ts$/,
    builtins: ANY,
    packages: NONE,
  },
  {
    name: 'metrics',
    files: /^metrics(-[\w]+)?\.ts$/,
    ours: /^(metrics-\w+|within)\.ts$/,
    types: /^(events|ports|projections)\/|^errors\.ts$/,
    builtins: NONE,
    packages: /^prom-client$/,
  },
  {
    name: 'traces-otlp.ts',
    files: /^traces-otlp\.ts$/,
    ours: /^(log|traces|within)\.ts$/,
    types: /^(config-traces|lifecycle)\.ts$/,
    builtins: NONE,
    packages: /^@opentelemetry\/(api|exporter-trace-otlp-http|resources|sdk-trace-base)$/,
  },
  { name: 'main.ts', files: /^(main|rebuild)\.ts$/, ours: /^[\w-]+\.ts$/, builtins: ANY, packages: /^pino$/ },
  { name: 'log.ts', files: /^log\.ts$/, ours: /^config\.ts$/, builtins: ANY, packages: /^pino$/ },
  { name: 'ids.ts', files: /^ids\.ts$/, ours: NONE, builtins: ANY, packages: /^uuid$/ },
  {
    name: 'src',
    files: /^[\w-]+\.ts$/,
    ours: /^[\w-]+\.ts$/,
    types: /^(commands|events)\//,
    builtins: ANY,
    packages: NONE,
  },
];

const FORBIDDEN_FOLDERS = /^(utils?|common|shared|helpers?|services?|libs?|types?)$/;

/** What is wrong with where `file` (relative to src) lies and what `text` imports; empty when nothing is. */
export function violations(file: string, text: string): readonly string[] {
  const zone = ZONES.find(({ files }) => files.test(file));
  const place = zone ? [] : [`${file}: no rule in test/support/boundaries.ts says what may lie here`];
  const wrong = zone ? importsOf(text).flatMap((found) => refusal(zone, file, found) ?? []) : [];
  return [...place, ...misnamed(file), ...wrong.map((why) => `${file}: ${why}`)];
}

/** What is wrong with the name of a file or a folder above it. */
export function misnamed(file: string): readonly string[] {
  const folders = file.split('/').slice(0, -1);
  const bad = folders.filter((folder) => FORBIDDEN_FOLDERS.test(folder));
  const barrel = /(^|\/)index\.[cm]?[jt]s$/.test(file) ? [`${file}: no barrels`] : [];
  return [...bad.map((folder) => `${file}: a folder named ${folder} says nothing about what is in it`), ...barrel];
}

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  /** Loaded only when the line is reached: `import(…)`. */
  readonly lazy: boolean;
}

function refusal(zone: Zone, file: string, found: Import): string | null {
  const { specifier } = found;
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(file), specifier);
    return refusalOfOurs(zone, file, { ...found, specifier: target });
  }
  if (specifier.startsWith('node:')) {
    return zone.builtins.test(specifier) ? null : `${zone.name} must not import ${specifier}`;
  }
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  if (zone.packages.test(name) || (zone.name === 'ports' && ADAPTER.test(file))) return null;
  return zone.name === 'senders' && SENDER.test(file) ? null : `${zone.name} must not import the package ${name}`;
}

function refusalOfOurs(zone: Zone, file: string, { specifier: target, typeOnly }: Import): string | null {
  if (target === 'main.ts' || target === 'rebuild.ts') return `nobody imports ${target}`;
  const closed = zone.name === 'app.ts' ? null : closedDoor(file, target);
  if (closed !== null) return closed;
  if (zone.ours.test(target)) return null;
  const typesAllowed = zone.types?.test(target) ?? false;
  if (typesAllowed && typeOnly) return null;
  return `${zone.name} must not import ${target}${typesAllowed ? ', only types of it' : ''}`;
}

/** What only the composition root opens: ports know the files of their own folder, nobody else knows an adapter. */
function closedDoor(file: string, target: string): string | null {
  const isHome = posix.dirname(target) === posix.dirname(file);
  if (OPEN.test(target)) return `only app.ts imports ${target}`;
  if (ADAPTER.test(target) && !isHome) return `only app.ts imports the adapter ${target}`;
  const crosses = file.startsWith('ports/') && target.startsWith('ports/') && !isHome;
  return crosses ? `one port must not import another: ${target}` : null;
}

/** Every module that the text names: import, export … from, import(…) and import('…') in types. */
export function importsOf(text: string): readonly Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier && ts.isStringLiteralLike(specifier)) {
      found.push({ specifier: specifier.text, typeOnly: isTypeOnly(node), lazy: ts.isCallExpression(node) });
    } else if (specifier) found.push({ specifier: '(computed)', typeOnly: false, lazy: true });
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('source.ts', text, ts.ScriptTarget.Latest));
  return found;
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) return node.arguments[0];
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal;
  return ts.isExternalModuleReference(node) ? node.expression : undefined;
}

function isTypeOnly(node: ts.Node): boolean {
  if (ts.isImportDeclaration(node)) return node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
  return ts.isImportTypeNode(node) || (ts.isExportDeclaration(node) && node.isTypeOnly);
}
