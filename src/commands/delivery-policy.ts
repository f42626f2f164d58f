/** The rules by which deliveries are attempted. */
export interface DeliveryPolicy {
  /** Pause after the first, second … attempt that failed for now, in milliseconds; one attempt more than pauses. */
  readonly retryDelaysMs: readonly number[];
  /** What becomes of a delivery of which nobody knows whether the provider accepted it: try again, or stop and show it. */
  readonly doubt: 'RESEND' | 'HOLD';
  /** How long a claim holds: the sender's time limit plus the clock skew allowed for, in milliseconds. */
  readonly claimMs: number;
  /** Pause before a job that meets a running claim looks again, at most, in milliseconds. */
  readonly busyMs: number;
}

/** Whether another attempt follows the `failures`th that failed. */
export function mayRetry({ retryDelaysMs }: DeliveryPolicy, failures: number): boolean {
  return failures <= retryDelaysMs.length;
}

export function retryDelayMs({ retryDelaysMs }: DeliveryPolicy, failures: number): number {
  return retryDelaysMs[failures - 1] ?? retryDelaysMs.at(-1) ?? 0;
}
