/** One JSON line an entry; what pino offers and all that the parts of this service use of it. */
export interface Log {
  readonly debug: (fields: object, message: string) => void;
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  /** For people on call: something needs a person. */
  readonly error: (fields: object, message: string) => void;
}

/** What goes wrong again and again for as long as something is away, told in a few lines. */
export interface Outage {
  /** It went wrong once more. */
  readonly met: (fields: object) => void;
  /** It went well again, or still. */
  readonly over: (fields: object) => void;
}

export interface OutageMessages {
  readonly failed: string;
  readonly well?: string;
  /** Each failure is mended by itself: never for people on call, however many there are. */
  readonly isHarmless?: boolean;
}

const TELL_EVERY_MS = 60_000;

/**
 * A failure is told at once, but never within a minute of another; that all is well again only after a failure that was told.
 * A short outage is a warning; one that lasts is for people on call. A minute without a failure ends it, too.
 */
export function openOutage(log: Log, { failed, well, isHarmless = false }: OutageMessages): Outage {
  let failures = 0;
  let since = 0;
  let lastAt = -Infinity;
  let toldAt = -Infinity;
  let isTold = false;
  return {
    met: (fields) => {
      const now = performance.now();
      if (now - lastAt > TELL_EVERY_MS) failures = 0;
      lastAt = now;
      failures += 1;
      if (failures === 1) since = now;
      if (now - toldAt < TELL_EVERY_MS) return;
      toldAt = now;
      isTold = true;
      const level = !isHarmless && now - since >= TELL_EVERY_MS ? 'error' : 'warn';
      log[level]({ ...fields, failures }, failed);
    },
    over: (fields) => {
      failures = 0;
      if (isTold && well !== undefined) log.info(fields, well);
      isTold = false;
    },
  };
}
