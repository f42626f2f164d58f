import type { Sender } from '../../src/senders/outcome.ts';

export function senderThat(send: Sender['send']): Sender {
  return { provider: 'scripted', channel: 'EMAIL', send };
}

/** Holds every send until it is opened. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Resolves when the signal aborts, at once if it has. */
export function onAbort(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}
