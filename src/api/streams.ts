import { createHash } from 'node:crypto';
import type { ExecutionArgs, ExecutionResult, GraphQLError } from 'graphql';
import { createSourceEventStream, execute, getOperationAST, Kind, visit } from 'graphql';
import { fragmentsOf } from './limits.ts';

/**
 * The values of `source`, each `next()` run by `run`. After an error the source is closed. `return()` goes straight to
 * the source: an async generator in between would keep it back for as long as a `next()` waits. After it nothing comes,
 * not even what `run` had taken by then.
 */
export function through<T, R>(
  source: AsyncIterator<T, unknown>,
  run: (next: () => Promise<IteratorResult<T, unknown>>) => Promise<IteratorResult<R, unknown>>,
): AsyncIterableIterator<R> {
  let closed = false;
  const close = async (): Promise<IteratorResult<R, unknown>> => {
    closed = true;
    await source.return?.();
    return { done: true, value: undefined };
  };
  return {
    next: async () => {
      try {
        const result = await run(() => source.next());
        return closed ? { done: true, value: undefined } : result;
      } catch (error) {
        await close();
        throw error;
      }
    },
    return: close,
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** Errors of a subscription that did not come to be. */
export class RefusedSubscription extends Error {
  override readonly name = 'RefusedSubscription';
  constructor(readonly errors: readonly GraphQLError[]) {
    super('the subscription was refused');
  }
}

/**
 * Starts a subscription. One that is refused is a stream that breaks at once: its client gets the one `error` message
 * of the protocol, as when it breaks later, and not an answer without data. What may be big is made when `turn` resolves:
 * until then it is nothing but the value that everybody shares.
 */
export async function openStream(
  args: ExecutionArgs,
  turn: () => Promise<void>,
): Promise<AsyncIterable<ExecutionResult>> {
  try {
    const source = await createSourceEventStream(args);
    if (!isStream(source)) return broken(new RefusedSubscription(source.errors ?? []));
    const values = source[Symbol.asyncIterator]();
    const root = rootOf(args);
    const answer = sharing(root, (rootValue) => execute({ ...args, rootValue }), questionOf(root, args));
    return through(root === BIG ? inTurn(values, turn) : values, async (next) => {
      const result = await next();
      return result.done === true ? result : { done: false, value: await answer(result.value) };
    });
  } catch (error) {
    return broken(error);
  }
}

function inTurn<T>(values: AsyncIterator<T>, turn: () => Promise<void>): AsyncIterator<T> {
  return through(values, async (next) => {
    const result = await next();
    if (result.done !== true) await turn();
    return result;
  });
}

function isStream(source: AsyncIterable<unknown> | ExecutionResult): source is AsyncIterable<unknown> {
  return Symbol.asyncIterator in source;
}

type Answer = (value: unknown) => ExecutionResult | Promise<ExecutionResult>;

/** One value goes to everybody who follows the same funnel, and may hold thousands of groups. */
const BIG = 'funnelUpdated';

/** The field of a subscription, of which there is one, perhaps in fragments. */
function rootOf({ document, operationName }: ExecutionArgs): string | null {
  const { nodes } = fragmentsOf<never>(document);
  let selection = getOperationAST(document, operationName)?.selectionSet.selections[0];
  while (selection && selection.kind !== Kind.FIELD) {
    const inner = selection.kind === Kind.FRAGMENT_SPREAD ? nodes.get(selection.name.value) : selection;
    selection = inner?.selectionSet.selections[0];
  }
  return selection?.name.value ?? null;
}

/**
 * What an answer depends on besides its value: the document, and the variables in it. Not those in the arguments of the
 * subscription's field, such as the cursor that everybody resumes from: they chose the values. Nor those that the
 * operation does not know: nobody has looked at what is in them.
 */
function questionOf(root: string | null, { document, operationName, variableValues }: ExecutionArgs): string {
  const used = new Set<string>();
  visit(document, {
    VariableDefinition: () => false,
    Field: (node) => (node.name.value === root ? { ...node, arguments: [] } : undefined),
    Variable: (node) => void used.add(node.name.value),
  });
  const known = getOperationAST(document, operationName)?.variableDefinitions ?? [];
  const names = known.map(({ variable }) => variable.name.value).filter((name) => used.has(name));
  const values = names.map((name) => variableValues?.[name]);
  const question = JSON.stringify([document.loc?.source.body, operationName, values]);
  // Questions may be long, and are kept with their answers.
  return createHash('sha256').update(question).digest('base64');
}

/** Answers that are kept to one value: clients word questions as they like, and answers are as big as their values. */
const MAX_ANSWERS = 4;
/** Updates with answers. They stay in memory long after everybody who waited for them was told. */
const MAX_UPDATES = 64;

const answers = new WeakMap<object, Map<string, ReturnType<Answer>>>();
const updates = new Set<object>();

/**
 * The same question about the same value is answered once, unless MAX_ANSWERS others were asked since. Values are of one
 * tenant, and whoever is given one may see all of it, so its answers are nobody's own.
 */
function sharing(root: string | null, answer: Answer, question: string): Answer {
  return (value) => {
    if (typeof value !== 'object' || value === null) return answer(value);
    const known = answers.get(value) ?? new Map<string, ReturnType<Answer>>();
    const given = known.get(question) ?? answer(value);
    keep(known, question, given);
    answers.set(value, known);
    if (root !== BIG) keepUpdate(value);
    return given;
  };
}

function keepUpdate(value: object): void {
  updates.add(value);
  const [oldest] = updates;
  if (updates.size <= MAX_UPDATES || !oldest) return;
  updates.delete(oldest);
  answers.delete(oldest);
}

/** As the one used last; the one not used for longest makes room. */
function keep(known: Map<string, ReturnType<Answer>>, question: string, given: ReturnType<Answer>): void {
  known.delete(question);
  known.set(question, given);
  const [oldest] = known.keys();
  if (known.size > MAX_ANSWERS && oldest !== undefined) known.delete(oldest);
}

function broken(error: unknown): AsyncIterableIterator<never> {
  return {
    // What else is thrown is a bug, and reported as one.
    next: () => Promise.reject(error instanceof Error ? error : new Error(String(error))),
    return: () => Promise.resolve({ done: true, value: undefined }),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
