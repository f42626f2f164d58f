/** How the fault tests are run from outside: `FAULTS_SEED=… FAULTS_MINUTES=… FAULTS_SLOWNESS=… npm run test:faults`. */
import { randomInt } from 'node:crypto';

const { FAULTS_SEED, FAULTS_MINUTES, FAULTS_SLOWNESS } = process.env;

/** The same seed draws the same faults and the same load. */
export const SEED = Number(FAULTS_SEED ?? randomInt(2 ** 31));
/** Rounds follow each other, each with a seed of its own, for so long; one round in any case. */
export const MINUTES = Number(FAULTS_MINUTES ?? 0);
/** By how much the machine is slower than two idle cores: the promised 30 seconds are multiplied by it. */
export const SLOWNESS = Number(FAULTS_SLOWNESS ?? 1);

/** What is promised for a new request once the last fault is over. */
export const RECOVERED = { timeoutMs: 30_000 * SLOWNESS, pauseMs: 50 };
/**
 * For what was under way: a claim that nobody ends runs out after 25 seconds, the broker's retry step after a log that was
 * away is 30, and jobs that a queue lost are missed after 15; each can come after another. An insert on a connection to ClickHouse that is
 * half open is given up after 150.
 */
export const SETTLED = { timeoutMs: 240_000 * SLOWNESS, pauseMs: 500 };

/** Limit of a test that runs rounds. */
export const ROUNDS_MS = MINUTES * 60_000 + 600_000 * SLOWNESS;

/** Who chose a seed or hours of it wants to see what is tried; otherwise a failure tells. */
export const TELLS = FAULTS_SEED !== undefined || FAULTS_MINUTES !== undefined;

/** Runs `round` with one seed after the other until the time is over. What fails says with which. */
export async function rounds(name: string, round: (seed: number, number: number) => Promise<string>): Promise<void> {
  const deadline = performance.now() + MINUTES * 60_000;
  for (let number = 0; number === 0 || performance.now() < deadline; number += 1) {
    const seed = SEED + number;
    try {
      console.log(`${name}, seed ${String(seed)}: ${await round(seed, number)}`);
    } catch (error) {
      console.error(`${name} failed; again with FAULTS_SEED=${String(seed)} npm run test:faults`);
      throw error;
    }
  }
}
