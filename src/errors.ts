/**
 * Every code a caller can meet. A code is stable, its message is for people and may change.
 * `docs/errors.md` lists the same codes; a test compares both ways.
 */
export const ERROR_CODES = {
  UNAUTHENTICATED: 'The appKey or the appSecret is wrong, revoked or missing.',
  FORBIDDEN: 'The client lacks the scope that this operation needs.',
  NOT_YET_SUPPORTED: 'The contract has it, this version does not.',
  BAD_USER_INPUT: 'An argument is not of the type the schema asks for.',
  INVALID_INPUT: 'A value is of the right type and still unusable; the message says why.',
  INVALID_EMAIL: 'Not exactly one plain e-mail address.',
  INVALID_PHONE: 'Not a phone number in E.164 form.',
  INVALID_SCHEDULE: 'deliverAt and expiresAt do not fit each other or the present time.',
  CONTENT_OR_TEMPLATE: 'Exactly one of content and template must be given.',
  USER_NOT_FOUND: 'The tenant has no such user.',
  CHANNEL_SWITCHED_OFF: 'This service has no provider for the channel.',
  TOO_MANY_DEVICES: 'The user has 20 active devices already.',
  USER_UNREACHABLE: 'The user has no address on any of the channels asked for.',
  TEMPLATE_NOT_FOUND: 'The tenant has no such template, or not that version of it.',
  TEMPLATE_INVALID: 'The template does not parse or uses what is not allowed.',
  TEMPLATE_VARIABLE_MISSING: 'data lacks a variable that the template uses.',
  TEMPLATE_UNRENDERABLE: 'The template cannot be rendered with this data.',
  NOTIFICATION_NOT_FOUND: 'The tenant has no such notification.',
  DELIVERY_NOT_FOUND: 'The notification has no such delivery.',
  TOO_MANY_CONVERSIONS: 'The notification has 1,000 conversions already.',
  INVALID_CURSOR: 'Not a cursor of this service, or one that lies ahead of its log.',
  CURSOR_TOO_OLD: 'What came after the cursor is no longer kept for resuming.',
  SLOW_SUBSCRIBER: 'The subscriber read too slowly; resume from the last cursor.',
  TOO_MANY_SUBSCRIPTIONS: 'This process serves as many subscriptions as it can, or as one tenant may have.',
  INVALID_FUNNEL: 'The funnel cannot be computed as asked; the message says why.',
  TOO_MANY_GROUPS: 'The funnel falls into more than 10,000 groups.',
  FUNNEL_TOO_EXPENSIVE: 'The funnel needs more time or memory than one query may use.',
  ANALYTICS_UNAVAILABLE: 'ClickHouse gives no answer, or the figures are still being brought up to date.',
  CLIENT_NOT_FOUND: 'The tenant has no such client.',
  IDEMPOTENCY_CONFLICT: 'The idempotency key was used before with another input.',
  TOO_MANY_ITEMS: 'More items in one request than allowed.',
  TOO_MANY_OPERATIONS: 'More than 100 operations at once on one WebSocket.',
  TOO_LARGE: 'One request holds more than 200 KiB.',
  PAYLOAD_TOO_LARGE: 'The HTTP body is over 4 MiB, or the message of a subscription over 32 Ki characters.',
  BAD_REQUEST: 'The HTTP request is not a GraphQL request.',
  METHOD_NOT_ALLOWED: 'This path does not answer to this HTTP method.',
  NOT_FOUND: 'There is nothing at this path.',
  UNSUPPORTED_MEDIA_TYPE: 'The body must be application/json.',
  GRAPHQL_PARSE_FAILED: 'The document is not GraphQL.',
  GRAPHQL_VALIDATION_FAILED: 'The document does not fit the schema.',
  OPERATION_RESOLUTION_FAILURE: 'The document does not hold exactly the operation asked for.',
  OPERATION_TOO_COMPLEX: 'The operation is over the limit of depth, aliases, tokens or cost.',
  PERSISTED_QUERY_NOT_SUPPORTED: 'Persisted queries are switched off; send the document.',
  CONFLICT: 'Too many others changed the same thing at the same moment; try again.',
  UNAVAILABLE:
    'The event log or the queues gave no answer in time, or the disk is almost full; try again with the same idempotency key.',
  SHUTTING_DOWN: 'This process is stopping; ask another or try again.',
  INTERNAL_SERVER_ERROR: 'A bug on our side. It was logged under the request id.',
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** A refusal by a rule: the caller did something that cannot be done, and nothing was changed. */
export class DomainError extends Error {
  override readonly name = 'DomainError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** Path of the offending argument, for example `input.email`; null where none is to blame. */
    readonly field: string | null = null,
  ) {
    super(message);
  }

  /** The same refusal with its field named from one level further out. */
  within(prefix: string): DomainError {
    return new DomainError(this.code, this.message, this.field === null ? prefix : `${prefix}.${this.field}`);
  }
}
