/** Values for whoever asks, one for each `next()`; nothing is kept for those who do not ask. */
export interface Asked<T> {
  /** `return()` settles every waiting `next()` at once. */
  readonly iterator: AsyncIterableIterator<T, undefined>;
  /** Calls of `next()` that are not answered yet. */
  readonly size: () => number;
  /** To the `next()` that waits longest; to nobody where none waits. */
  readonly give: (value: T) => void;
  /** Ends it. The error is for the `next()` that waits longest or else for the one that comes next. */
  readonly fail: (error: unknown) => void;
  readonly end: () => void;
}

export interface AskedOptions {
  /** After each `next()`, as long as it has not ended. */
  readonly onAsk: () => void;
  /** Once, however it ends. */
  readonly onEnd: () => void;
}

type Answer<T> = IteratorResult<T, undefined>;

interface Question<T> {
  readonly resolve: (answer: Answer<T>) => void;
  readonly reject: (error: Error) => void;
}

const DONE = { done: true, value: undefined } as const;

/** By hand, because `return()` of an async generator waits for the `next()` under way. */
export function openAsked<T>({ onAsk, onEnd }: AskedOptions): Asked<T> {
  const questions: Question<T>[] = [];
  let failure: Error | null = null;
  let hasEnded = false;

  const end = (): void => {
    if (hasEnded) return;
    hasEnded = true;
    for (const { resolve } of questions.splice(0)) resolve(DONE);
    onEnd();
  };
  const fail = (thrown: unknown): void => {
    if (hasEnded) return;
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const first = questions.shift();
    if (first) first.reject(error);
    else failure = error;
    end();
  };
  const answerEnded = ({ resolve, reject }: Question<T>): void => {
    if (failure) reject(failure);
    else resolve(DONE);
    failure = null;
  };
  const iterator: Asked<T>['iterator'] = {
    next: () =>
      new Promise((resolve, reject) => {
        if (hasEnded) {
          answerEnded({ resolve, reject });
          return;
        }
        questions.push({ resolve, reject });
        onAsk();
      }),
    return: () => {
      end();
      failure = null;
      return Promise.resolve(DONE);
    },
    [Symbol.asyncIterator]: () => iterator,
  };
  const give = (value: T): void => questions.shift()?.resolve({ done: false, value });
  return { iterator, size: () => questions.length, give, fail, end };
}
