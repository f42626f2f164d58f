import type { DomainEvent } from './event.ts';

/** What can happen to a client: a backend with an appKey, an appSecret and scopes. */
export type ClientEvent =
  | DomainEvent<'ClientRegistered', ClientRegistered>
  /** The secrets before this one stop working at `graceUntil`. */
  | DomainEvent<'SecretRotated', { readonly secretHash: string; readonly graceUntil: string }>
  | DomainEvent<'ClientRevoked', Record<string, never>>;

export const SCOPES = ['SEND', 'READ', 'ANALYTICS', 'OPERATE', 'ADMIN'] as const;
export type Scope = (typeof SCOPES)[number];

export interface ClientRegistered {
  readonly appKey: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** HMAC-SHA256 under SECRET_KEY, base64url; the secret itself is kept nowhere. */
  readonly secretHash: string;
}

export interface ClientState {
  readonly appKey: string;
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly revoked: boolean;
  /** Newest first; `until` null = works until rotated. */
  readonly secrets: readonly ClientSecret[];
}

export interface ClientSecret {
  readonly hash: string;
  readonly until: string | null;
}

export function evolveClient(state: ClientState | null, event: ClientEvent, tenant: string): ClientState | null {
  if (event.type === 'ClientRegistered') {
    const { appKey, name, scopes, secretHash } = event.data;
    return { appKey, tenant, name, scopes, revoked: false, secrets: [{ hash: secretHash, until: null }] };
  }
  if (state === null) return null;
  switch (event.type) {
    case 'SecretRotated':
      return { ...state, secrets: rotated(state.secrets, event.data) };
    case 'ClientRevoked':
      return { ...state, revoked: true, secrets: [] };
    default:
      return state;
  }
}

/** However often a secret is rotated within the grace: the oldest ones go first. */
const MOST_SECRETS = 20;

/** The secret that was current gets the grace; an older one keeps an earlier end. */
function rotated(
  secrets: readonly ClientSecret[],
  { secretHash, graceUntil }: { readonly secretHash: string; readonly graceUntil: string },
): readonly ClientSecret[] {
  const older = secrets.map(({ hash, until }) => ({ hash, until: earlier(until, graceUntil) }));
  return [{ hash: secretHash, until: null }, ...older].slice(0, MOST_SECRETS);
}

function earlier(a: string | null, b: string): string {
  return a !== null && a < b ? a : b;
}
