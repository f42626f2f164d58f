import type { Keys } from './context.ts';
import { hasControlCharacter, refuse } from './validation.ts';

/** @throws DomainError INVALID_INPUT when a text cannot be an idempotency key. */
export function requireKey(key: string): void {
  const bad = key.length === 0 || key.length > 255 || hasControlCharacter(key);
  const rule = 'idempotencyKey has 1 to 255 characters, none of them a control character';
  refuse(bad, 'INVALID_INPUT', rule, 'idempotencyKey');
}

/** Two uses of one key must have the same input, told by its hash. @throws DomainError IDEMPOTENCY_CONFLICT */
export function requireSameInput(keys: Keys, firstHash: string, inputHash: string): void {
  const differs = !keys.sameHash(firstHash, inputHash);
  refuse(differs, 'IDEMPOTENCY_CONFLICT', 'the idempotency key was used before with another input', 'idempotencyKey');
}
