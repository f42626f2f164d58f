import type { GraphQLFormattedError } from 'graphql';
import { GraphQLError, Kind } from 'graphql';
import type { ErrorCode } from '../errors.ts';
import { DomainError, ERROR_CODES } from '../errors.ts';
import { SlowSubscriber } from '../projections/live-updates.ts';
import { fieldOf } from './error-field.ts';
import type { ApiOptions } from './options.ts';

export interface Reporting extends Pick<ApiOptions, 'development' | 'log' | 'observe'> {
  readonly requestId: string;
}

interface Told {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field: string | null;
}

const LONGEST_MESSAGE = 1_000;

/**
 * What a client learns of an error, on HTTP and WebSocket alike. Whatever is not meant for clients is logged with its
 * stack, and the client gets nothing but the request id.
 */
export function formatError(error: unknown, reporting: Reporting): GraphQLFormattedError {
  const { code, message, field } = tell(error) ?? mask(error, reporting);
  reporting.observe.errorAnswered(code);
  const located = error instanceof GraphQLError ? error.toJSON() : {};
  const valueless = withoutValue(error, message);
  const shown = reporting.development ? valueless : valueless.replace(/ ?Did you mean .*$/s, '');
  const masked = code === 'INTERNAL_SERVER_ERROR' ? { requestId: reporting.requestId } : {};
  return {
    ...located,
    message: shown.slice(0, LONGEST_MESSAGE),
    extensions: { code, ...(field !== null && { field }), ...masked },
  };
}

/** GraphQL repeats what a variable held, which may be a secret such as a push token: only the kind of mistake is told. */
function withoutValue(error: unknown, message: string): string {
  const [, variable, where = ''] = /^Variable "(\$\w+)" got invalid value .*?( at "[\w.[\]]+")?; /s.exec(message) ?? [];
  const cause = innermost(error);
  const told =
    variable === undefined || !(cause instanceof Error)
      ? message
      : `Variable "${variable}"${where} is invalid: ${cause.message}`;
  return told.replace(/(cannot represent (?:an? )?[\w-]+(?: [\w-]+)*(?: value)?): .*$/s, '$1');
}

/** Null: not for clients. */
function tell(error: unknown): Told | null {
  const cause = innermost(error);
  if (cause instanceof DomainError) return cause;
  if (cause instanceof SlowSubscriber) return slow(cause);
  if (!(error instanceof GraphQLError)) return null;
  const code = (cause instanceof GraphQLError ? knownCode(cause) : null) ?? knownCode(error) ?? inferredCode(error);
  return code === null ? null : { code, message: error.message, field: fieldOf(error) };
}

function slow({ message, cursor }: SlowSubscriber): Told {
  return { code: 'SLOW_SUBSCRIBER', message: `${message}; resume after ${cursor}`, field: null };
}

function innermost(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? innermost(error.originalError) : error;
}

function knownCode({ message, extensions }: GraphQLError): ErrorCode | null {
  if (/^Syntax Error: Document contains more tha[nt] \d+ tokens/.test(message)) return 'OPERATION_TOO_COMPLEX';
  const { code, http } = extensions;
  // Apollo's word for a mutation by GET is but BAD_REQUEST.
  if (isMethodRefusal(http)) return 'METHOD_NOT_ALLOWED';
  return typeof code === 'string' && isErrorCode(code) && code !== 'INTERNAL_SERVER_ERROR' ? code : null;
}

function isMethodRefusal(http: unknown): boolean {
  return typeof http === 'object' && http !== null && 'status' in http && http.status === 405;
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

const INPUT_KINDS: ReadonlySet<Kind> = new Set([
  Kind.VARIABLE_DEFINITION,
  Kind.VARIABLE,
  Kind.INT,
  Kind.FLOAT,
  Kind.STRING,
  Kind.BOOLEAN,
  Kind.NULL,
  Kind.ENUM,
  Kind.LIST,
  Kind.OBJECT,
]);

/** Execution says nothing but where: at a value, the client's input is to blame; at a field, we are. */
function inferredCode({ nodes }: GraphQLError): ErrorCode | null {
  return nodes?.[0] && INPUT_KINDS.has(nodes[0].kind) ? 'BAD_USER_INPUT' : null;
}

function mask(error: unknown, { log, requestId }: Reporting): Told {
  log.error({ err: innermost(error), requestId }, 'an operation failed');
  return { code: 'INTERNAL_SERVER_ERROR', message: 'Internal server error', field: null };
}
