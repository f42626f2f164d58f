import { DomainError } from '../errors.ts';

/** The contract has it, this version does not. `field`: the operation, or the path of the argument. */
export function notYetSupported(what: string, field: string): DomainError {
  return new DomainError('NOT_YET_SUPPORTED', `${what} is not supported yet`, field);
}
