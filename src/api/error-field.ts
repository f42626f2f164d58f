import type { ASTNode, DocumentNode, GraphQLError, Source, ValueNode } from 'graphql';
import { Kind, parse, visit } from 'graphql';

/** A spot inside an argument, and its path from the argument's name: `input.content.body`, `inputs[3].lane`. */
interface Place {
  readonly node: ASTNode;
  readonly path: string;
}

/** The argument that a coercion or validation error is about; null when it is about something else. */
export function fieldOf(error: GraphQLError): string | null {
  const node = error.nodes?.[0];
  if (node === undefined || error.source === undefined) return null;
  const places = placesIn(error.source);
  if (node.kind === Kind.VARIABLE_DEFINITION) return variableField(error.message, node.variable.name.value, places);
  if (node.kind === Kind.FIELD) return /\bargument "(\w+)"/.exec(error.message)?.[1] ?? null;
  const place = places.find((each) => each.node.kind === node.kind && each.node.loc?.start === node.loc?.start);
  return place ? place.path + missingField(error.message, node) : null;
}

const parsed = new WeakMap<Source, readonly Place[]>();

/** Errors carry their source but not its document. All errors of a request share one source. */
function placesIn(source: Source): readonly Place[] {
  const places = parsed.get(source) ?? placesOf(parse(source));
  parsed.set(source, places);
  return places;
}

function placesOf(document: DocumentNode): readonly Place[] {
  const places: Place[] = [];
  visit(document, {
    Argument: (node) => {
      places.push({ node, path: node.name.value }, ...placesInside(node.value, node.name.value));
    },
  });
  return places;
}

function placesInside(node: ValueNode, path: string): readonly Place[] {
  const here = { node, path };
  if (node.kind === Kind.LIST) {
    return [here, ...node.values.flatMap((each, index) => placesInside(each, `${path}[${String(index)}]`))];
  }
  if (node.kind !== Kind.OBJECT) return [here];
  const fields = node.fields.flatMap((field) => {
    const inner = `${path}.${field.name.value}`;
    return [{ node: field, path: inner }, ...placesInside(field.value, inner)];
  });
  return [here, ...fields];
}

/** graphql-js names the place within the variable; clients think in arguments. */
function variableField(message: string, variable: string, places: readonly Place[]): string {
  const usage = places.find(({ node }) => node.kind === Kind.VARIABLE && node.name.value === variable);
  const within = new RegExp(` at "${variable}([^"]*)"; `).exec(message)?.[1] ?? '';
  return (usage?.path ?? variable) + within + nestedField(message);
}

function missingField(message: string, node: ASTNode): string {
  return node.kind === Kind.OBJECT ? nestedField(message) : '';
}

/** Errors about a field that lacks, or does not belong, name its object. */
function nestedField(message: string): string {
  const name = /Field "(?:\w+\.)?(\w+)" (?:of required type|is not defined)/.exec(message)?.[1];
  return name === undefined ? '' : `.${name}`;
}
