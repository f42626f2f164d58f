import { ConfigError, readConfig } from '../../src/config.ts';
import type { Environment } from '../../src/environment.ts';

/** What is wrong with an environment; empty when nothing is. */
export function problems(env: Environment): readonly string[] {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}
