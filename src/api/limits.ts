import type {
  ASTVisitor,
  DocumentNode,
  FragmentDefinitionNode,
  GraphQLError,
  OperationDefinitionNode,
  SelectionSetNode,
  ValidationContext,
  ValidationRule,
} from 'graphql';
import { Kind, NoSchemaIntrospectionCustomRule } from 'graphql';
import { refusal } from './refusal.ts';

/** The same on HTTP and WebSocket. Big inputs travel as variables, which count only towards the size of the body. */
export const LIMITS = {
  /** Characters of the document. */
  source: 512 * 1024,
  tokens: 2_000,
  depth: 10,
  aliases: 15,
  directives: 50,
} as const;

/** @throws GraphQLError OPERATION_TOO_COMPLEX before anything is parsed. */
export function checkSource(source: unknown): void {
  if (typeof source === 'string' && source.length > LIMITS.source) {
    throw tooComplex(`the document has more than ${String(LIMITS.source)} characters`);
  }
}

/** Rules besides GraphQL's own. Outside development nobody reads the schema. */
export function validationRules(development: boolean): ValidationRule[] {
  const always = [limitRule, rootTypeRule];
  return development ? always : [...always, NoSchemaIntrospectionCustomRule];
}

export function tooComplex(message: string, nodes?: OperationDefinitionNode): GraphQLError {
  return refusal('OPERATION_TOO_COMPLEX', message, nodes);
}

const MEASURED = {
  depth: (size: string) => `a depth of ${size}`,
  aliases: (size: string) => `${size} aliases`,
  directives: (size: string) => `${size} directives`,
} as const;

function limitRule(context: ValidationContext): ASTVisitor {
  return {
    OperationDefinition: (operation) => {
      const size = measure(operation.selectionSet, fragmentsOf(context.getDocument()));
      for (const limit of ['depth', 'aliases', 'directives'] as const) {
        if (size[limit] <= LIMITS[limit]) continue;
        const message = `the operation has ${MEASURED[limit](String(size[limit]))}, more than ${String(LIMITS[limit])}`;
        context.reportError(tooComplex(message, operation));
      }
    },
  };
}

/** GraphQL's own rules let an operation pass whose root type the schema does not have. */
function rootTypeRule(context: ValidationContext): ASTVisitor {
  return {
    OperationDefinition: (node) => {
      if (context.getSchema().getRootType(node.operation)) return;
      context.reportError(refusal('GRAPHQL_VALIDATION_FAILED', `the schema has no ${node.operation}`, node));
    },
  };
}

interface Size {
  readonly depth: number;
  readonly aliases: number;
  readonly directives: number;
}

const NOTHING: Size = { depth: 0, aliases: 0, directives: 0 };

/** Fragments by name, each measured once; one that contains itself counts as nothing, another rule refuses it. */
export interface Fragments<T> {
  readonly nodes: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly measured: Map<string, T>;
}

export function fragmentsOf<T>(document: DocumentNode): Fragments<T> {
  const nodes = document.definitions.filter((each) => each.kind === Kind.FRAGMENT_DEFINITION);
  return { nodes: new Map(nodes.map((node) => [node.name.value, node])), measured: new Map() };
}

/** With every fragment counted wherever it is spread. */
function measure(selectionSet: SelectionSetNode, fragments: Fragments<Size>): Size {
  let total = NOTHING;
  for (const selection of selectionSet.selections) {
    const inner = inside(selection, fragments);
    const isField = selection.kind === Kind.FIELD;
    total = {
      depth: Math.max(total.depth, inner.depth + (isField ? 1 : 0)),
      aliases: total.aliases + inner.aliases + (isField && selection.alias ? 1 : 0),
      directives: total.directives + inner.directives + (selection.directives?.length ?? 0),
    };
  }
  return total;
}

type Selection = SelectionSetNode['selections'][number];

function inside(selection: Selection, fragments: Fragments<Size>): Size {
  if (selection.kind === Kind.FRAGMENT_SPREAD) return measureFragment(selection.name.value, fragments);
  if (selection.selectionSet === undefined) return NOTHING;
  const size = measure(selection.selectionSet, fragments);
  return isIntrospection(selection) ? { ...size, depth: 0 } : size;
}

function measureFragment(name: string, fragments: Fragments<Size>): Size {
  const known = fragments.measured.get(name);
  const node = fragments.nodes.get(name);
  if (known || !node) return known ?? NOTHING;
  fragments.measured.set(name, NOTHING);
  const size = measure(node.selectionSet, fragments);
  fragments.measured.set(name, size);
  return size;
}

/** Deep by nature; GraphQL's own rule bounds it where introspection is open at all. */
function isIntrospection(selection: Selection): boolean {
  return selection.kind === Kind.FIELD && ['__schema', '__type'].includes(selection.name.value);
}
